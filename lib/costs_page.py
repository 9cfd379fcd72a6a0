"""The page about costs: every configuration, what the papers did, and how far the model is right.

``make costs`` writes it from committed files alone, so it comes out the same everywhere.
"""

from pathlib import Path

import pandas as pd

from lib import costs, paths, timing, work
from lib.grids import Grid, load_grids
from lib.sizes import BYTES_PER_TOKEN, MODELS, TASKS, tokens_from_bytes

PAPERS = "paper"
#: Published bytes, rows, columns of text and bytes of other columns of training splits whose texts
#: were counted too: dataset_infos.json of huggingface/datasets at commit 040102f.
_PUBLISHED = {
    "cola": (489149, 8551, 1, 0),
    "mrpc": (946146, 3668, 2, 0),
    "rte": (848888, 2490, 2, 0),
    "wnli": (107517, 635, 2, 0),
    "stsb": (758394, 5749, 2, -4),
    "boolq": (6179206, 9427, 2, 0),
}


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = table.astype(object).to_numpy().tolist()
    lines = [list(table.columns), ["---"] * table.shape[1]]
    lines += [[costs.digits(value) for value in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_two(table: pd.DataFrame) -> str:
    """``lib.costs.by_configuration`` as two tables: work and time; disk and jobs."""
    first = table.loc[:, :"GPU h, dear"]
    return f"{markdown(first)}\n\n{markdown(table.drop(columns=first.columns[1:]))}"


def disk_check(grids: list[Grid]) -> pd.DataFrame:
    """Predicted beside actual bytes of the committed tables, samples of vectors included."""
    rows = []
    for grid in grids:
        root = paths.results(paths.reference_of(grid.name))
        held = [setting for setting in grid.settings if (root / setting.id).is_dir()]
        files = [file for setting in held for file in (root / setting.id).iterdir()]
        sampled = {file.parent.name for file in files if file.suffix == ".npy"}
        predicted = sum(
            work.table_bytes(setting, len(grid.seeds), sample=setting.id in sampled)
            for setting in held
        )
        actual = sum(file.stat().st_size for file in files)
        rows.append((grid.name, len(held), actual / 1e6, predicted / 1e6, predicted / actual))
    columns = ["configuration", "groups", "actual MB", "predicted MB", "ratio"]
    return pd.DataFrame(rows, columns=columns)


def length_check() -> pd.DataFrame:
    """Tokens derived from published bytes beside those counted, where there are both."""
    rows = []
    for task, (n_bytes, n, columns, other) in _PUBLISHED.items():
        derived = tokens_from_bytes(n_bytes, n, columns, other=other)
        rows.append((task, TASKS[task].tokens, derived, derived / TASKS[task].tokens))
    return pd.DataFrame(rows, columns=["task", "counted", "derived", "ratio"])


def published(table: pd.DataFrame) -> pd.DataFrame:
    """What papers did, as far as it is known, beside what it would take by this model.

    ``table``: ``lib.costs.by_configuration`` of the papers' grids.
    """
    found = table.set_index("configuration")
    families = {
        "Du & Nguyen": ["du-nguyen-standard", "du-nguyen-failed", "du-nguyen-mitigation"],
        "Mosbach et al.": ["mosbach-default", "mosbach-recommended"],
        "Bui et al., RoBERTa-large": ["bui-roberta"],
        "Bui et al., Llama-3.2-3B": ["bui-llama"],
        "Fu et al., sibling": ["fu-sibling"],
        "Fu et al., methods": ["fu-stabilizers"],
    }
    said = {
        "Du & Nguyen": "480 fine-tunings, 600 saved models, “about 1 TB” (P)",
        "Mosbach et al.": "25 seeds (S); 3 and 20 epochs, four rates (P)",
        "Bui et al., RoBERTa-large": "ten seeds (S); which tasks, how trained: U",
        "Bui et al., Llama-3.2-3B": "ten seeds, LoRA (S); the rest U",
        "Fu et al., sibling": "ten seeds, 12 tasks (P); steps are ours",
        "Fu et al., methods": "11 data sets (P), not known which",
    }
    rows = []
    for family, names in families.items():
        part = found.loc[names]
        rows.append(
            {
                "paper": family,
                "published": said[family],
                "runs": int(part["runs"].sum()),
                "PFLOP": part["PFLOP"].sum(),
                "core h": part["core h"].sum(),
                "GPU h": f"{part['GPU h, cheap'].sum():,.0f} to {part['GPU h, dear'].sum():,.0f}",
                "vectors GB": part["vectors GB"].sum(),
                "kept GB": part["kept GB"].sum(),
            }
        )
    return pd.DataFrame(rows)


def saved_models() -> float:
    """Bytes of Du & Nguyen's 600 saved models: one a run, and two where runs were to fail."""
    total = 0.0
    for study in ("standard", "failed", "failed", "mitigation"):
        (grid,) = load_grids(f"{PAPERS}/du-nguyen-{study}")
        total += sum(len(grid.seeds) * work.stored(one).checkpoint for one in grid.settings)
    return total


def _rounded(number: float) -> float:
    """To one digit that counts."""
    return float(f"{number:.1g}")


def write(folder: Path) -> Path:
    """``costs.csv``, a row a setting, and ``costs.md``; returns the page."""
    gain, papers = timing.bfloat16_gain(), load_grids(PAPERS)
    known = timing.committed(load_grids(costs.HERE))
    ours = [grid for grid in load_grids(costs.HERE) if (known["configuration"] == grid.name).any()]
    speed, checks = timing.fit(known, gain), timing.leave_one_out(known, gain)
    here, theirs = (costs.by_configuration(grids, speed) for grids in (ours, papers))
    on_cpu, on_gpu = known[known["device"] == "cpu"], timing.gpu_check(known)
    folder.mkdir(parents=True, exist_ok=True)
    settings = pd.concat([costs.by_setting(grid, speed) for grid in [*ours, *papers]])
    settings.to_csv(folder / "costs.csv", index=False, float_format="%.4g")
    models = [(name, shape.parameters(), shape.layers) for name, shape in MODELS.items()]
    family = published(theirs).set_index("paper")
    text = _PAGE.format(
        here=in_two(here),
        papers=in_two(theirs),
        published=markdown(published(theirs)),
        checks=markdown(pd.DataFrame(checks)),
        benchmark=markdown(timing.benchmark_check(speed)),
        disk=markdown(disk_check(ours)),
        lengths=markdown(length_check()),
        models=markdown(pd.DataFrame(models, columns=["backbone", "weights", "layers"])),
        gpu="No run was timed on a GPU." if on_gpu.empty else markdown(on_gpu),
        runs=int(known["runs"].sum()),
        timed=int(on_cpu["runs"].sum()),
        spent=f"{(on_cpu['seconds'] * on_cpu['runs']).sum() / 3600:.2f}",
        operations=f"{here['PFLOP'].sum():.2f}",
        times=f"{_rounded(theirs['PFLOP'].sum() / here['PFLOP'].sum()):,.0f}",
        saved=f"{saved_models() / 1e12:.2f}",
        kept=f"{family.loc['Du & Nguyen', 'kept GB']:.1f}",
        large=f"{theirs['largest group GB'].max():,.0f}",
        speed=f"{1e-9 / speed.operation:.0f}",
        update=f"{speed.update * 1e9:.1f}",
        start=f"{speed.start:.1f}",
        gain=f"{gain:.2f}",
        low=f"{1 / max(check.ratio for check in checks):.2f}",
        high=f"{1 / min(check.ratio for check in checks):.2f}",
        bytes=BYTES_PER_TOKEN,
        padded=f"{100 * (work.PADDED - 1):.0f}",
        job=f"{timing.job_seconds():.1f}",
        cheap=timing.CHEAP,
        dear=timing.DEAR,
        together=costs.TOGETHER,
        derived=", ".join(name for name, size in TASKS.items() if size.how == "derived"),
        assumed=", ".join(name for name, size in TASKS.items() if size.how == "assumed"),
    )
    page = folder / "costs.md"
    page.write_text(text)
    return page


_PAGE = """# What it costs

Computed by `make costs` from the configurations, from run times that are committed and from
published sizes; nothing was run for it. A row a setting is in `costs.csv`. GPU hours are a range
under assumptions that stand at the end. {gpu}

## What was run and timed here

{runs} runs, {operations} PFLOP, all of small models on a few hundred rows: the configurations that
are in `run_times.csv`, timed on a machine that did little else. The {timed} of them that ran on a
CPU took {spent} core hours.

{here}

## The papers' own grids

As `config/paper.yaml` holds them. **None has been run here.** All studies together take about
{times} times the operations of what was timed.

{papers}

- `core h`: on one core of the machines on which the committed runs were timed. Going by the checks
  below, expect {low} to {high} times that. `GPU h`: on one H100.
- `vectors` exist until their group is measured; `largest group` is what has to fit at once. With
  `eval_rows: 0`, which is all rows, a single group of ReCoRD takes up to {large} GB: give
  `eval_rows` a number there. `kept` stays in the run store, `tables` are the results. `checkpoints`
  are what saved weights would take; none are written, since a run can be made again from its seed.
- `jobs`: as a configuration cuts its seeds into jobs. `core h of jobs beside`: {job} s a job, for a
  kernel and imports. `submissions`: jobs of one run each, {together} handed over as one.
  `files of runs`: seven a run, five once the vectors are gone. `files of the engine`: its records
  of outputs, logs and executed notebooks, for jobs of one run each.

## What the papers did, and why less was done here

{published}

Behind what is published stands its grade: P, read in the authors' text or code; S, second-hand; U,
not known, so that the grid is ours.

- **Du & Nguyen** write of about 1 TB of disk. Their 600 saved models are {saved} TB by this model;
  what the rest is, is not known. The same 480 runs need no saved model here: vectors are measured
  and deleted, and what stays is {kept} GB.
- There was no hub here to fetch these models from. So the papers' questions are asked of models
  that a laptop trains in seconds, and the papers' grids are kept ready.
- What that costs is in what can be said. How the measures relate, and how seeds, rates and methods
  act on small models, can be seen; no score here compares with the papers'.

## How far to trust this

Each configuration predicted from the run times of the others. `ratio` is predicted over measured,
of all its runs; `lowest` and `highest` are of its settings. The machines were shared: the same work
took up to three times as long at other times, which no model of the work can know.

{checks}

Training alone, two seeds on 192 rows of RTE on a quiet machine (`finetune_cpu.csv`), predicted from
those runs:

{benchmark}

Disk: the committed tables.

{disk}

Tokens: derived from published bytes, as for the hub's tasks, beside tokens counted, before anything
is cut at `max_length`.

{lengths}

## What it rests on

- Operations: two for each weight and token in a forward pass, and 4 · layers · width · tokens² a
  sequence for attention. A step of training is three forward passes, two for LoRA, one for a head
  on a frozen encoder. For `bert-tiny` and `minilm-l6` this is what torch's own counter counts.
  {padded} % of padding are added in training.
- Methods are taken to cost what standard fine-tuning does, but for `lora`, `head`, `longer`, and
  SURT's continued pretraining, which is counted once for all seeds of a setting.
- Seconds on a core: operations at {speed} GFLOP/s in float32 and {gain} times that in bfloat16,
  {update} ns for each weight at each step, {start} s a run; fitted to {timed} runs. For models
  fifty times larger that is an extrapolation.
- Seconds on an H100: at {cheap.utilisation:.0%} (cheap) or {dear.utilisation:.0%} (dear) of
  66.9 TFLOP/s in float32 without tensor cores, which is what this code leaves on, or of
  989.4 TFLOP/s in bfloat16 (data sheet); at least {cheap.launch_ms:.1f} or {dear.launch_ms:.1f} ms
  a layer and step; and {cheap.start:.0f} or {dear.start:.0f} s a run for loading. The peaks of an
  A100 are a third.
- Rows and tokens: counted for most tasks, with the tokeniser of `bert-tiny`. Derived from published
  bytes at {bytes} bytes a token: {derived}. Assumed: {assumed} (for ReCoRD, 12 candidates a
  question).
- Weights of models under a head of two outputs, from their configurations:

{models}
"""
