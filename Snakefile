# The whole chain of a configuration: fine-tune -> measure groups -> analyse and draw, or the jobs
# of notebooks that it lists (config/theory.yaml).
# `make run CONFIG=quick` calls it; one job is one execution of a notebook by papermill.
# `make campaign` calls it with campaign=yes: only what the committed reference lacks is made, and
# each group or job is promoted into the reference as soon as its tables are there.
#
# Content decides what runs again, never a file's age. lib.workflow.jobs says which runs are there, made
# as they would be made now; for the other jobs, parameters and fingerprints of the code (comments
# and docstrings stripped) are `params`, so a changed plotting function retrains nothing.
import base64
import os
import sys

import yaml

from lib import paths, provenance
from lib.results import tables
from lib.workflow import jobs, status

CAMPAIGN = bool(config.get("campaign"))
try:
    PLAN = jobs.load(
        str(config.get("grid", "quick")),
        campaign=CAMPAIGN,
        seeds_per_job=config.get("seeds_per_job"),
        # On a cluster every job reads this file again, on its node, and then plans nothing.
        planning=workflow.is_main_process,
    )
    # Where to compute is no parameter of a result, so another device makes no job run again.
    DEVICE = jobs.device_option(config.get("device"))
except ValueError as error:
    sys.exit(str(error))  # a line, where the engine would show a traceback
RESULTS = paths.OUTPUT / "data/results/{grid}"
FIGURES = paths.OUTPUT / "figures/{grid}"
# Jobs run with the Python that runs the engine. So do their kernels, though another kernel called
# python3 may be installed for the user. What they print goes to a file, shown if the job fails.
os.environ["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"
PAPERMILL = "{sys.executable:q} -m papermill -k python3 --no-progress-bar notebooks"
QUIETLY = " > {log:q} 2>&1"
JOB_CODE = ("analysis", "theory", "training/model_features.py")
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, where it is there


def parameters(values):
    """The parameters of a notebook as one shell word, whatever they hold.

    As YAML, which is how papermill reads them: JSON's 2e-05 would arrive as text.
    """
    return " --parameters_base64 " + base64.b64encode(yaml.dump(values, Dumper=DUMPER).encode()).decode()


def origins(grid, group):
    """What decides the runs of a group; once it changes, the group is measured again."""
    members = PLAN.results[grid, group].parameters["setting_ids"]
    return [status.origin(PLAN.settings[member]) for member in members]


def code(notebook, *more):
    """Fingerprint of a notebook and of the rooms that it uses beside those that measure."""
    files = f"notebooks/{notebook}.ipynb", *(f"lib/{name}" for name in more)
    return provenance.code_fingerprint(*provenance.MEASURING, *files)


def growing(amount):
    """A resource of which a job gets more each time that it is tried again.

    Only a cluster counts minutes and memory; a job that ran out of them loses no finished run.
    """
    return lambda wildcards, attempt: amount * attempt


wildcard_constraints:
    grid=r"[^/]+",
    group=r"[^/]+",
    job=r"[^/]+",
    shard=r"seed[^/]+_to_seed[^/.]+",


localrules:
    all,
    drop_vectors,
    promote,


# A job on a full disk cannot write down why it failed.
onerror:
    print(paths.space_left(), file=sys.stderr)


rule all:
    input:
        [made.outputs for made in PLAN.results.values()],
        list(PLAN.dropped),
        PLAN.promotions() if CAMPAIGN else PLAN.figures,


rule finetune:
    output:
        paths.RUNS / "{setting}" / "{shard}.json",
    log:
        paths.RUNS / "{setting}" / "{shard}.log.txt",
    params:
        executed=lambda w: paths.RUNS / w.setting / f"{w.shard}.log.ipynb",
        notebook=lambda w: parameters(PLAN.shards[paths.RUNS / w.setting / f"{w.shard}.json"].parameters),
    # In the order of the configuration.
    priority: lambda w: len(PLAN.settings) - list(PLAN.settings).index(w.setting)
    resources:
        gpu=1,
        runtime=growing(240),
        mem_mb=growing(16000),
    shell:
        PAPERMILL + "/jobs/01_finetune.ipynb {params.executed:q}{params.notebook}" + DEVICE + QUIETLY


rule measure_group:
    input:
        lambda w: PLAN.results[w.grid, w.group].inputs,
    output:
        [RESULTS / "{group}" / f"{table}.parquet" for table in tables.TABLES],
    log:
        RESULTS / "logs" / "{group}.txt",
    params:
        executed=lambda w: paths.results(w.grid) / "logs" / f"{w.group}.ipynb",
        notebook=lambda w: parameters(PLAN.results[w.grid, w.group].parameters),
        code=code("jobs/02_measure_group"),
        runs=lambda w: origins(w.grid, w.group),
    # What is trained is measured and promoted before anything else is trained.
    priority: len(PLAN.settings) + 1
    resources:
        runtime=growing(60),
        mem_mb=growing(16000),
    shell:
        PAPERMILL + "/jobs/02_measure_group.ipynb {params.executed:q}{params.notebook}" + QUIETLY


# Layer vectors are a thousand times larger than all else. Those of a setting go when every group
# that it is in is measured; whoever needs them again trains the runs again, to the same bits.
rule drop_vectors:
    input:
        lambda w: PLAN.dropped[paths.RUNS / w.setting / "vectors_dropped.txt"],
    output:
        paths.RUNS / "{setting}" / "vectors_dropped.txt",
    priority: len(PLAN.settings) + 2
    shell:
        "{sys.executable:q} -m lib.workflow drop {wildcards.setting:q} > {output:q}"


# A job beside the grids: what it runs, with which values, is in lib.config.job_kinds.
rule run_job:
    output:
        RESULTS / "{job}" / "made.json",
    log:
        RESULTS / "logs" / "{job}.txt",
    params:
        executed=lambda w: paths.results(w.grid) / "logs" / f"{w.job}.ipynb",
        source=lambda w: PLAN.results[w.grid, w.job].notebook,
        notebook=lambda w: parameters(PLAN.results[w.grid, w.job].parameters),
        code=lambda w: code(PLAN.results[w.grid, w.job].notebook, *JOB_CODE),
        versions=[provenance.TRAINING_VERSIONS, provenance.DISTANCE_VERSION],
    resources:
        runtime=growing(60),
        mem_mb=growing(8000),
    shell:
        PAPERMILL + "/{params.source}.ipynb {params.executed:q}{params.notebook}" + QUIETLY


rule promote:
    input:
        lambda w: PLAN.results[w.grid, w.group].outputs[-1],
    output:
        RESULTS / "promoted" / "{group}.txt",
    params:
        commit="--commit" if config.get("commit") else "",
    priority: len(PLAN.settings) + 2
    shell:
        "{sys.executable:q} -m lib.workflow promote {wildcards.grid:q} {wildcards.group:q} {params.commit} > {output:q}"


for notebook, (figure, _) in jobs.ANALYSES.items():

    rule:
        name:
            f"analyse_{notebook[:2]}"
        input:
            lambda w: PLAN.results_of(w.grid),
        output:
            FIGURES / f"{figure}.svg",
        log:
            RESULTS / "logs" / f"{notebook}.txt",
        params:
            executed=lambda w, notebook=notebook: paths.results(w.grid) / "logs" / f"{notebook}.ipynb",
            source=notebook,
            notebook=lambda w: parameters({"results": w.grid}),
            code=code(notebook, "analysis", "plots"),
        resources:
            runtime=30,
            mem_mb=4000,
        shell:
            "{sys.executable:q} -m lib.workflow story {params.source} | "
            "{sys.executable:q} -m papermill -k python3 --no-progress-bar -"
            " {params.executed:q}{params.notebook}" + QUIETLY
