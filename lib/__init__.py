"""Shared module of the compendium: a room an idea. A room imports only from rooms above it.

errors, paths, provenance   the ground floor
measures    scores, predictions and representations of S runs → numbers with intervals
plots       tables → figures
data        labelled text → token arrays
models      pretrained weights, a new head, methods of fine-tuning
config      settings, seeds, grids, parameters of notebooks
results     runs, tables, groups of runs
training    one run, or many seeds as one program
theory      stability bounds and what to hold them against
analysis    validity, consistency, sources of variance, failed runs
report      your own predictions → a page
workflow    what the engine asks; status; promotion

``python -m lib``, installed as ``instability``: report, certificate, seeds-needed
"""
