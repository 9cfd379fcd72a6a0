"""Runs and groups of runs: where they are kept, and the one object that everything measures.

runs           the run store
tables         tidy tables: writing and reading
run_group      S runs of a group
group_tables   from the runs of a group to its tables
exports        runs in the schemas of others
"""
