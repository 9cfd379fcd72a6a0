"""Shared module of the compendium on the instability of fine-tuning.

One idea a module; the notebooks tell the stories:

paths         where things are
errors        errors that say what to do
config        typed settings, strict checks of parameters and grids
provenance    commit, versions and fingerprints of code
assets        pinned wheels turned into files
rows          the rows of a task, and splits that keep groups together
tasks         labelled text with fixed columns and splits: the registry
own_task      the same from a table of your own
batches       tokens, fixed subsets, padded batches
seeds         the random streams of a run
backbones     pretrained encoders
finetune      one run: train, evaluate, record
runs          the run store
tables        tidy tables of results: writing, reading, promoting
groups        from the runs of a group to its tables
measures      instability at three granularities: scores, predictions, representations
resampling    intervals by resampling runs
plots         figures, byte-reproducible and with alternative text
"""
