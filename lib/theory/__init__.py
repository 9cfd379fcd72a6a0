"""Stability bounds of fine-tuning: statements as functions, problems to check them on, and solvers.

assumptions       what a bound assumes; outside of it, asking for the bound is an error
quadratic         full fine-tuning: gradient descent on the Taylor-quadratic model of the loss
head              head tuning: a linear classifier on separable features
classical         classical stability results: stochastic gradients, regularised minimisers
margin            maximum-margin and soft-margin classifiers of many sets
minimizers        minimisers of the regularised logistic loss, every leave-one-out set at once
problems          random problems
tuning            gradient descent on heads, any runs together
descent           leave-one-out gradient descent, of heads and of quadratic problems
coupled           stochastic gradients on samples that differ in one example, the same draws
checks            bounds of full fine-tuning against measurements on given problems
trends            what one factor does to full fine-tuning, on quadratic problems
draws             simulated sets of many sizes and gaps
sweeps            leave-one-out of heads over sizes, margins, steps and rates, as tables
starts            heads from random starts, several heads averaged, rows removed, as tables
summaries         such tables in short: means with intervals, tightness, ranks
side_by_side      every bound of one problem beside what it bounds
curvature         Hessian-vector products of a real loss, ends of its spectrum by Lanczos
network           a real classifier as losses over one vector of weights
retraining        gradient descent on all examples and without some, side by side
full_tuning       the bounds of full fine-tuning with constants estimated from a network
retraining_study  one case of it: constants, runs at several rates, bounds beside them
"""
