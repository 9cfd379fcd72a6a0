// What is wider than the screen scrolls in a frame of its own; a fade and a line above it say so.
const SCROLLING = ".frame, pre, span.math, mjx-container, .pst-scrollable-table-container, .output";
function watch(frame) {
  const cue = document.createElement("p");
  cue.className = "cue";
  cue.textContent = "More to the right →";
  const look = () => {
    const beyond = frame.clientWidth > 150 ? frame.scrollWidth - frame.clientWidth : 0;
    frame.classList.toggle("more", beyond - frame.scrollLeft > 4);
    cue.hidden = beyond <= 4;
    cue.classList.toggle("seen", frame.scrollLeft > 4);
    if (cue.hidden || cue.isConnected) return;
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", "Scrolls sideways");
    if (!frame.closest("span.math")) (frame.closest("div.math") ?? frame).before(cue);
  };
  frame.addEventListener("scroll", look);
  new ResizeObserver(look).observe(frame);
}

addEventListener("load", async () => {
  for (const image of document.querySelectorAll("article img")) {
    const frame = document.createElement("div"), link = document.createElement("a");
    const caption = image.closest("figure")?.querySelector("figcaption p");
    frame.className = "frame";
    link.href = caption?.querySelector("a[href$='.svg']")?.href ?? image.src;
    if (caption && link.href === image.src) {
      caption.insertAdjacentHTML("beforeend", ` <a href="${image.src}">Enlarge figure</a>`);
    }
    (image.closest("a") ?? image).replaceWith(frame);
    frame.append(link);
    link.append(image);
  }
  for (const table of document.querySelectorAll("article table:has(thead):not(.cell_output *)")) {
    const cells = [...table.querySelectorAll("td")];
    table.classList.toggle("prose", cells.some((cell) => cell.textContent.length > 60));
    for (const cell of cells) cell.dataset.column = table.rows[0].cells[cell.cellIndex].innerText;
  }
  await window.MathJax?.startup?.promise;
  document.querySelectorAll(`article :is(${SCROLLING})`).forEach(watch);
  for (const arrow of document.querySelectorAll("nav summary")) arrow.ariaLabel = "Pages below";
});

// A figure is shown alone, larger than the screen.
const enlarged = document.createElement("dialog");
enlarged.className = "enlarged";
enlarged.innerHTML = '<form method="dialog"><button>← Back</button></form><img>';
addEventListener("click", (event) => {
  const link = event.target.closest('article a:is([href$=".svg"], [href$=".png"])');
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const image = enlarged.querySelector("img");
  image.src = link.href;
  image.alt = link.closest("figure, .sd-col, .frame")?.querySelector("img").alt ?? "";
  document.body.append(enlarged);
  enlarged.showModal();
});

// Where one taps, the first tap on a word of the glossary shows its tip, the second its entry.
let tapped = false, shown;
addEventListener("pointerdown", (event) => { tapped = event.pointerType === "touch"; }, true);
addEventListener("click", (event) => {
  const link = event.target.closest("article a"), tip = link?._tippy;
  if (tapped && tip && link !== shown) {
    event.preventDefault();
    tip.setProps({ interactive: true });
    if (!tip.popper.querySelector(".entry")) {
      tip.setContent(`${tip.props.content}<p class="entry"><a href="${link.href}">To the entry</a>`);
    }
    tip.show();
  }
  shown = tip && link;
}, true);

document.addEventListener("DOMContentLoaded", () => {
  const section = document.querySelector("article section");
  if (section) document.querySelector(".skip-link a").hash = section.id;
  document.querySelector(".primary-toggle")?.addEventListener("click", () => setTimeout(() =>
    [...document.querySelectorAll("nav .current > a")].at(-1)?.scrollIntoView({ block: "center" })));
  if (window.Scorer) improve();
});

// Hits go by how often a page says the words; words come first, jobs and functions last.
const LATER_IS_FIRST = [
  /^(docs|gallery|README|index|notebooks\/\d)/, /^docs\/findings/, /^docs\/glossary#/,
];
function improve() {
  const { htmlToText, _performSearch: search } = Search;
  const whole = new URLSearchParams(location.search).has("all");
  Search.htmlToText = (page, anchor) => {
    const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
    return htmlToText(`<main role="main">${article.outerHTML}</main>`, anchor);
  };
  Search._performSearch = (query, terms, ...others) => {
    const { terms: known, titleterms } = Search._index;
    const anywhere = Object.keys({ ...known, ...titleterms });
    for (const term of terms) if (!anywhere.some((word) => word.includes(term))) terms.delete(term);
    const stemmer = new Stemmer();
    const words = splitQuery(query).map((word) => stemmer.stemWord(word.toLowerCase()));
    const pairs = words.slice(1).map((word, i) => `${words[i]} ${word}`);
    const score = ([page, , anchor, , found, , how]) => {
      const said = (word) => Math.log1p(Search.counts[page]?.[word] ?? 0);
      const kind = LATER_IS_FIRST.findLastIndex((kind) => kind.test(page + anchor));
      const often = Math.min(...[...terms].map(said)) + pairs.map(said).reduce((a, b) => a + b, 0);
      return 100 * kind + found + 10 * often + (how === "title" ? 50 : 0);
    };
    const hits = search(query, terms, ...others);
    for (const hit of hits) hit[4] = score(hit);
    hits.sort((a, b) => a[4] - b[4]);
    if (hits.length > 20 && !whole) {
      const link = `<p><a href="${location.href}&all">All ${hits.length} hits</a></p>`;
      document.querySelector("#search-results").insertAdjacentHTML("beforeend", link);
    }
    return whole ? hits : hits.slice(-20);
  };
}
