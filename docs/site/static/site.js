// What is wider than the screen scrolls in a frame of its own: a fade and a line say so.
addEventListener("load", () => {
  for (const image of document.querySelectorAll("article img")) {
    const whole = image.closest("a") || image;
    const frame = document.createElement("div");
    whole.replaceWith(frame);
    frame.append(whole);
    frame.className = "frame";
  }
  const scrolling = ".frame, pre, .pst-scrollable-table-container, .cell_output > .output";
  for (const frame of document.querySelectorAll(`article :is(${scrolling})`)) {
    const left = () => frame.scrollWidth - frame.clientWidth - frame.scrollLeft;
    const look = () => frame.classList.toggle("more", left() > 4);
    if (left() > 4) {
      frame.classList.add("wide");
      frame.tabIndex = 0;
      frame.setAttribute("role", "group");
      frame.setAttribute("aria-label", "Scrolls sideways");
    }
    frame.addEventListener("scroll", look);
    look();
  }
  for (const arrow of document.querySelectorAll("nav summary")) arrow.ariaLabel = "Pages below";
});
// In a search words come first, then findings, notebooks, the manual; jobs and functions last.
const LATER_IS_FIRST = [
  /^(docs|gallery|README|index)/, /^notebooks\/\d/, /^docs\/findings/, /^docs\/glossary#/,
];
document.addEventListener("DOMContentLoaded", () => {
  if (window.Scorer) {
    Scorer.score = ([page, , anchor, , score]) =>
      score + 100 * (1 + LATER_IS_FIRST.findLastIndex((kind) => kind.test(page + anchor)));
  }
});
