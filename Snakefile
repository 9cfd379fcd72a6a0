# The whole chain of one configuration: fine-tune -> measure groups -> analyse and draw.
# `make run CONFIG=quick` calls it; one job is one execution of a notebook by papermill.
#
# Content decides what runs again, never a file's age: parameters and fingerprints of the code
# (comments and docstrings stripped) are `params`, so a changed plotting function retrains nothing.
import base64
import sys
from pathlib import Path

import yaml

from lib import grids, paths, provenance, runs, tables, tasks

try:
    GRID = grids.load_grid(str(config.get("grid", "quick")))
except ValueError as error:
    sys.exit(str(error))  # a line, where the engine would show a traceback
RESULTS = paths.results(GRID.name)
FIGURES = paths.figures(GRID.name)
SETTINGS = {setting.id: setting for setting in GRID.settings}
GROUPS = GRID.groups
MARKERS = {
    setting_id: {runs.marker(setting_id, shard): shard for shard in GRID.shards}
    for setting_id in SETTINGS
}
# Analysis notebooks and the figure that each draws last.
ANALYSES = {
    "20_measure_scores_and_predictions": "20_measures",
    "21_measure_representations": "21_layers",
    "22_compare_macro_and_micro": "22_macro_micro",
    "50_paper_figures": "50_agreement",
}
if len(GRID.crossed) > 1:
    ANALYSES["11_separate_sources_of_randomness"] = "11_components"
if GRID.has_ladder:
    ANALYSES["13_diagnose_failed_runs"] = "13_ladder"
# What a job prints goes to a file, which is shown if the job fails.
PAPERMILL = "python -m papermill -k python3 --no-progress-bar notebooks"
QUIETLY = "> {log:q} 2>&1"

# A shard counts as done while its runs are there and are the ones that it made.
for markers in MARKERS.values():
    for marker in markers:
        runs.drop_stale_marker(marker)


def parameters(**values):
    """The parameters of a notebook as one shell word, whatever they hold.

    As YAML, which is how papermill reads them: JSON's 2e-05 would arrive as text.
    """
    return "--parameters_base64 " + base64.b64encode(yaml.safe_dump(values).encode()).decode()


def code(notebook, *files):
    return provenance.digest(
        provenance.notebook_fingerprint(paths.ROOT / "notebooks" / f"{notebook}.ipynb"),
        provenance.code_fingerprint(files),
    )


def seeds_of(wildcards):
    return MARKERS[wildcards.setting][paths.RUNS / wildcards.setting / f"{wildcards.shard}.json"]


def own_file(task):
    """A user's own table can change under its name; the registered tasks are pinned."""
    return provenance.file_sha256(task) if tasks.is_own_file(task) else None


wildcard_constraints:
    shard=r"seed[^/]+_to_seed[^/.]+",


localrules:
    all,
    drop_vectors,


rule all:
    input:
        expand(RESULTS / "{group}" / "{table}.parquet", group=GROUPS, table=tables.TABLES),
        [] if GRID.keep_vectors else RESULTS / "logs" / "vectors_dropped.txt",
        [FIGURES / f"{figure}.svg" for figure in ANALYSES.values()],


rule finetune:
    output:
        paths.RUNS / "{setting}" / "{shard}.json",
    log:
        paths.RUNS / "{setting}" / "{shard}.log.txt",
    params:
        executed=lambda w: paths.RUNS / w.setting / f"{w.shard}.log.ipynb",
        notebook=lambda w: parameters(**SETTINGS[w.setting].to_dict(), seeds=seeds_of(w)),
        code=code("10_finetune", *provenance.TRAINING_CODE),
        own_file=lambda w: own_file(SETTINGS[w.setting].task),
    resources:
        gpu=1,
    shell:
        PAPERMILL + "/10_finetune.ipynb {params.executed:q} {params.notebook} " + QUIETLY


rule measure_group:
    input:
        lambda w: [marker for setting_id in GROUPS[w.group] for marker in MARKERS[setting_id]],
    output:
        [RESULTS / "{group}" / f"{table}.parquet" for table in tables.TABLES],
    log:
        RESULTS / "logs" / "{group}.txt",
    params:
        executed=lambda w: RESULTS / "logs" / f"{w.group}.ipynb",
        notebook=lambda w: parameters(
            results=GRID.name,
            group=w.group,
            setting_ids=GROUPS[w.group],
            seeds=[seeds.label for seeds in GRID.seeds],
        ),
        code=code("12_measure_group", *provenance.MEASURE_CODE),
    shell:
        PAPERMILL + "/12_measure_group.ipynb {params.executed:q} {params.notebook} " + QUIETLY


# Layer vectors are a thousand times larger than all else. They go when every group is measured;
# whoever needs them again trains the runs again, to the same bits.
rule drop_vectors:
    input:
        expand(RESULTS / "{group}" / "measures.parquet", group=GROUPS),
    output:
        RESULTS / "logs" / "vectors_dropped.txt",
    run:
        runs.drop_vectors(marker for markers in MARKERS.values() for marker in markers)
        Path(output[0]).write_text("after all groups were measured\n")


for notebook, figure in ANALYSES.items():

    rule:
        name:
            f"analyse_{notebook[:2]}"
        input:
            expand(RESULTS / "{group}" / "measures.parquet", group=GROUPS),
        output:
            FIGURES / f"{figure}.svg",
        log:
            RESULTS / "logs" / f"{notebook}.txt",
        params:
            executed=RESULTS / "logs" / f"{notebook}.ipynb",
            source=notebook,
            notebook=parameters(results=GRID.name),
            code=code(notebook, "lib/plots.py"),
        shell:
            PAPERMILL + "/{params.source}.ipynb {params.executed:q} {params.notebook} " + QUIETLY
