"""Stability bounds of fine-tuning: statements as functions, solvers, sweeps, a real network.

assumptions       what a bound assumes; outside of it, asking for the bound is an error
quadratic         full fine-tuning: gradient descent on the Taylor-quadratic model of the loss
head              head tuning: a linear classifier on separable features
margin            maximum-margin and soft-margin heads, with and without each example
descent           gradient descent of heads, any runs together
problems          separable sets at random
sweeps            both measured beside their bounds, as tables, and the tables in short
curvature         Hessian-vector products of a real loss, ends of its spectrum by Lanczos
network           a real classifier as losses over one vector of weights
retraining        gradient descent on all examples and without some, side by side
full_tuning       the bounds of full fine-tuning with constants estimated from a network
retraining_study  one case of it: constants, runs at several rates, bounds beside them
claims            what the paper claims, beside all of these measurements
"""
