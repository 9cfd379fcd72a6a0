"""Stability bounds of fine-tuning: statements as functions, solvers, sweeps, a real network.

certificate  a head of one's own: how far each example can move it, and which predictions
own_features the same from a file, in words and as tables (``python -m lib.theory FEATURES``)
assumptions  what a bound assumes; outside of it, asking for the bound is an error
quadratic    full fine-tuning: gradient descent on the Taylor-quadratic model of the loss
head         head tuning: a linear classifier on separable features
margin       maximum-margin and soft-margin heads, with and without each example
descent      gradient descent of heads, any runs together
problems     separable sets at random
sweeps       both measured beside their bounds, as tables, and the tables in short
network      a real classifier with and without some examples: curvature, minimisers, influence
"""
