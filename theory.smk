# The jobs that hold the bounds against measurements: `make theory` calls it, beside the Snakefile.
#
# As there, content decides what runs again: the parameters of a job and fingerprints of the code.
# A kind of job is an entry of lib.job_kinds.KINDS; the jobs stand in config/theory.yaml.
import base64
import os
import re
import sys

import yaml

from lib import grids, job_kinds, paths, provenance

try:
    [PLAN] = grids.load(str(config.get("plan", "theory")))
except ValueError as error:
    sys.exit(str(error))  # a line, where the engine would show a traceback
RESULTS = paths.results(PLAN.name)
# As in the Snakefile, jobs and their kernels run with the Python that runs the engine.
os.environ["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"
PAPERMILL = "{sys.executable:q} -m papermill -k python3 --no-progress-bar"


def parameters(job):
    """The parameters of a job's notebook as one shell word; YAML, which is how papermill reads."""
    values = {**job.parameters, "results": PLAN.name, "job": job.name}
    return "--parameters_base64 " + base64.b64encode(yaml.safe_dump(values).encode()).decode()


def tables(job):
    return [RESULTS / job / f"{table}.parquet" for table in job_kinds.KINDS[KIND_OF[job]].tables]


KIND_OF = {job.name: job.kind for job in PLAN.jobs}


localrules:
    all,


rule all:
    input:
        [tables(job.name) for job in PLAN.jobs],


for kind in dict.fromkeys(KIND_OF.values()):
    spec = job_kinds.KINDS[kind]
    jobs = {job.name: parameters(job) for job in PLAN.jobs if job.kind == kind}

    rule:
        name:
            kind
        output:
            [RESULTS / "{job}" / f"{table}.parquet" for table in spec.tables],
        log:
            RESULTS / "logs" / "{job}.txt",
        wildcard_constraints:
            job="|".join(map(re.escape, jobs)),
        params:
            executed=lambda w: RESULTS / "logs" / f"{w.job}.ipynb",
            notebook=NOTEBOOKS / f"{spec.notebook}.ipynb",
            values=lambda w, jobs=jobs: jobs[w.job],
            code=provenance.digest(
                provenance.notebook_fingerprint(NOTEBOOKS / f"{spec.notebook}.ipynb"),
                provenance.code_fingerprint(spec.code),
                provenance.TRAINING_VERSIONS,
                provenance.DISTANCE_VERSION,
            ),
        resources:
            runtime=60,
            mem_mb=8000,
        shell:
            PAPERMILL + " {params.notebook:q} {params.executed:q} {params.values} > {log:q} 2>&1"
