"""What results mean: validity, consistency, sources of variance, failed runs.

validity              do measures of one thing agree, do they show what is known?
consistency           do they agree on which group is unstable?
granularity           is the SD enough, or does it take answers, or what is inside?
variance_components   which stream of randomness makes runs differ
seed_transfer         is a lucky seed lucky on other tasks?
ensembles             what several runs answer together
learning_rate_sweep   from which rate on do runs fail?
failed_runs           what their training looks like
claims                every conclusion, computed over all its specifications
perturbations         models made to differ in known ways
"""
