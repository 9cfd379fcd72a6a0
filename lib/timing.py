"""How long runs take: a model of three terms, fitted to measured runs and held against others.

Seconds of a run on a CPU core = operations / speed + steps × weights × update + start. The first
term is arithmetic; the second is what the optimiser does to every weight at every step, which is
bound by memory and most of the time of small models; the third is loading. All runs were timed on
machines that others used too, so the same work took up to three times as long at other times.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from lib import paths
from lib.config import Setting
from lib.grids import Grid
from lib.sizes import shape_of
from lib.work import Work, work_of


@dataclass(frozen=True)
class Speed:
    """Seconds for an operation in float32, for an update of a weight, and for a start."""

    operation: float
    update: float
    start: float
    bfloat16: float

    def seconds(self, setting: Setting, work: Work) -> float:
        """Predicted seconds of one run on one core."""
        faster = self.bfloat16 if setting.precision == "bfloat16" else 1.0
        arithmetic = self.operation * work.operations / faster
        return arithmetic + self.update * work.steps * work.trained + self.start


def bfloat16_gain(folder: Path | None = None) -> float:
    """How much faster bfloat16 was than float32 in the benchmark, for the larger model."""
    table = pd.read_csv((folder or paths.DATA / "benchmarks") / "finetune_cpu.csv")
    ours = table[table["way"].str.contains("one at a time") & (table["backbone"] == "minilm-l6")]
    seconds = ours.set_index("precision")["seconds"]
    return float(seconds["float32"] / seconds["bfloat16"])


def committed(grids: list[Grid], folder: Path | None = None) -> pd.DataFrame:
    """A row a setting whose runs were timed: ``configuration``, ``setting``, ``runs``, ``seconds``
    (mean of a run), ``device`` and ``work``.

    From ``run_times.csv``, and not from the committed runs' own records, whose times are those of
    whatever else the machine did when they were last made.
    """
    times = pd.read_csv((folder or paths.DATA / "benchmarks") / "run_times.csv")
    rows = []
    for grid in grids:
        table = times[times["results"] == paths.reference_of(grid.name)]
        for setting in grid.settings:
            runs = table[table["setting_id"] == setting.id]
            if len(runs):
                device, seconds = runs["device"].iloc[0], float(runs["wall_s"].mean())
                rows.append((grid.name, setting, len(runs), seconds, device, work_of(setting)))
    columns = ["configuration", "setting", "runs", "seconds", "device", "work"]
    return pd.DataFrame(rows, columns=columns)


def fit(table: pd.DataFrame, gain: float) -> Speed:
    """The speed of a core that fits settings of ``committed`` best, by relative error; no term is
    negative. Raises ``ValueError`` if none of them ran on a CPU.
    """
    table = table[table["device"] == "cpu"]
    if table.empty:
        raise ValueError("no committed run was timed on a CPU, so there is no speed to go by")
    unit = Speed(1.0, 0.0, 0.0, gain)
    terms = np.array(
        [
            [unit.seconds(row.setting, row.work), row.work.steps * row.work.trained, 1.0]
            for row in table.itertuples()
        ]
    )
    scale = terms.max(0)
    found, _ = nnls(terms / scale / table["seconds"].to_numpy()[:, None], np.ones(len(table)))
    return Speed(*(found / scale).tolist(), gain)


class Checked(NamedTuple):
    """Predicted over measured seconds of a configuration, from the others' speed."""

    configuration: str
    settings: int
    runs: int
    measured_s: float
    predicted_s: float
    ratio: float
    lowest: float
    highest: float


def leave_one_out(table: pd.DataFrame, gain: float) -> list[Checked]:
    """Each configuration that ran on a CPU, predicted from the speed of the others.

    ``ratio`` is of all its runs together; ``lowest`` and ``highest`` are those of its settings.
    """
    found, table = [], table[table["device"] == "cpu"]
    for name, part in table.groupby("configuration", sort=False):
        speed = fit(table[table["configuration"] != name], gain)
        predicted = np.array([speed.seconds(row.setting, row.work) for row in part.itertuples()])
        ratios, runs = predicted / part["seconds"], part["runs"].to_numpy()
        spent, said = (part["seconds"] * runs).sum(), (predicted * runs).sum()
        found.append(
            Checked(
                configuration=str(name),
                settings=len(part),
                runs=int(runs.sum()),
                measured_s=float(spent),
                predicted_s=float(said),
                ratio=float(said / spent),
                lowest=float(ratios.min()),
                highest=float(ratios.max()),
            )
        )
    return found


def benchmark_check(speed: Speed) -> pd.DataFrame:
    """Training alone, in the benchmark of fine-tuning, beside what the speed of whole runs says."""
    table = pd.read_csv(paths.DATA / "benchmarks" / "finetune_cpu.csv")
    rows = []
    for row in table[table["way"].str.contains("one at a time")].itertuples():
        setting = Setting(
            backbone=row.backbone,
            task=row.task,
            train_rows=row.rows,
            epochs=1,
            precision=row.precision,
        )
        work = work_of(setting)._replace(evaluation=0.0)
        predicted = row.seeds * (speed.seconds(setting, work) - speed.start)
        rows.append(
            {
                "backbone": row.backbone,
                "precision": row.precision,
                "measured s": row.seconds,
                "predicted s": predicted,
                "ratio": predicted / row.seconds,
            }
        )
    return pd.DataFrame(rows)


#: H100 SXM, NVIDIA's data sheet, in operations a second: float32 without tensor cores, which is
#: what lib.devices leaves on, and bfloat16 with them. An A100 has 19.5e12 and 312e12.
PEAK = {"float32": 66.9e12, "bfloat16": 989.4e12}


class Assumed(NamedTuple):
    """What is assumed of a GPU, not measured: the share of the peak that is reached; the least
    seconds that a layer takes of a step, for starting its kernels; the seconds that a run starts.
    """

    utilisation: float
    launch: float
    start: float

    @property
    def launch_ms(self) -> float:
        """The least of a step, in milliseconds a layer."""
        return 1e3 * self.launch


CHEAP, DEAR = Assumed(0.5, 0.5e-3, 2.0), Assumed(0.2, 1.5e-3, 10.0)


def gpu_seconds(setting: Setting, work: Work, layers: int, assumed: Assumed) -> float:
    """Seconds of one run on an H100, if what is assumed holds."""
    arithmetic = work.operations / PEAK[setting.precision] / assumed.utilisation
    return max(arithmetic, assumed.launch * layers * work.steps) + assumed.start


def gpu_check(table: pd.DataFrame) -> pd.DataFrame:
    """The configurations of ``committed`` that ran on a GPU: hours measured, and the range."""
    rows = []
    for (name, device), part in table[table["device"] != "cpu"].groupby(
        ["configuration", "device"]
    ):
        hours = {
            word: sum(
                row.runs
                * gpu_seconds(row.setting, row.work, shape_of(row.setting.backbone).layers, assumed)
                for row in part.itertuples()
            )
            / 3600
            for word, assumed in {"cheap": CHEAP, "dear": DEAR}.items()
        }
        spent = (part["seconds"] * part["runs"]).sum() / 3600
        rows.append({"configuration": name, "device": device, "measured h": spent, **hours})
    return pd.DataFrame(rows)


#: Seconds that a job takes beside its work, for a kernel and imports: jobs of one run of ``quick``
#: that train nothing took 5 to 13. ``make bench-engine`` measures it where it was run.
_JOB_S = 7.0


def job_seconds(folder: Path | None = None) -> float:
    """What a job takes beside its work: of the engine's benchmark, if it was run."""
    page = (folder or paths.DATA / "benchmarks") / "engine.md"
    found = (
        re.search(r"^\| overhead of a job .*\| *([\d.]+) *\|$", page.read_text(), re.M)
        if (page.is_file())
        else None
    )
    return float(found[1]) if found else _JOB_S
