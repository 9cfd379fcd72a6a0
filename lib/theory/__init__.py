"""Stability bounds of fine-tuning: statements as functions, solvers, sweeps, a real network.

assumptions  what a bound assumes; outside of it, asking for the bound is an error
quadratic    full fine-tuning: gradient descent on the Taylor-quadratic model of the loss
head         head tuning: a linear classifier on separable features
margin       maximum-margin and soft-margin classifiers of many sets
problems     random problems
tuning       gradient descent on heads, any runs together
descent      the same without each example in turn; the same of quadratic problems
draws        simulated sets of many sizes and gaps
sweeps       leave-one-out of heads over sizes, margins, steps and rates, as tables
starts       heads from random starts, several heads averaged, rows removed, as tables
summaries    such tables in short: means with intervals, tightness, ranks
network      a real classifier as losses over one vector of weights; its curvature
retraining   a network with and without some examples: runs, minimisers, influence, bounds
claims       what the paper claims, beside all of these measurements
"""
