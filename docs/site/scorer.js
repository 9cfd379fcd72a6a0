// What defines a word comes first, then findings, notebooks and the manual; batch jobs, functions
// and tables come last. Within these, scores are Sphinx's own.
const FIRST = [/^docs\/glossary#/, /^docs\/findings/, /^notebooks\/\d/, /^(docs|README|index)/];
var Scorer = {
  score: ([page, , anchor, , score]) => {
    const rank = FIRST.findIndex((pattern) => pattern.test(page + anchor));
    return score + 100 * (rank < 0 ? 0 : FIRST.length - rank);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
