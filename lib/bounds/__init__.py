"""Stability bounds of fine-tuning: statements as functions, problems to check them on, and solvers.

assumptions  what a bound assumes; outside of it, asking for the bound is an error
quadratic    full fine-tuning: gradient descent on the Taylor-quadratic model of the loss
head         head tuning: a linear classifier on separable features
classical    the classical stability results, for comparison
margin       maximum-margin and soft-margin classifiers of many sets at once
problems     random problems
descent      leave-one-out gradient descent, all runs together
checks       bounds against measurements: comparisons, violations, tightness
adversary    search for the problem on which a bound is tightest
"""
