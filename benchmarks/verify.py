"""Committed runs made again: `make verify` trains a random sample and compares.

On the same processor, versions and number of threads a run is the same to the last bit of its
committed logits. Elsewhere rounding differs, and training amplifies it. Of 20 runs made again with
two threads instead of one, 16 gave the same answer to 99 % of the examples or more. The other four,
at learning rates where runs fail, agreed on 59 to 77 %, no less than other seeds do: there rounding
is one more source of randomness. So elsewhere a run has to agree with the committed one on
``AGREEMENT`` of the examples, or as much as the other seeds of its setting do.
"""

import argparse
import json
import secrets
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from lib import config, paths, provenance
from lib.data import tasks
from lib.errors import TaskError
from lib.results import run_group, runs, tables
from lib.training import finetune
from lib.workflow import status

#: Share of examples that a run made on another machine has to answer as the committed one does,
#: unless seeds agree on fewer.
AGREEMENT = 0.95
#: What has to be equal for two runs to be the same bits.
_SAME = ("device", "processor", "threads", "versions")


@dataclass(frozen=True)
class Compared:
    """A committed run beside the same run made here.

    ``largest``: the largest difference between logits, both in float16; ``agreement``: the share of
    examples with the same answer; ``expected_equal``: made by the same versions on the same kind
    of machine; ``data_equal``: from the same data, as read now; ``of_seeds``: the lowest agreement
    of the committed run with another seed of its setting, 1 if there is none.
    """

    results: str
    setting_id: str
    seed_label: str
    expected_equal: bool
    data_equal: bool
    largest: float
    agreement: float
    of_seeds: float
    score: float
    committed_score: float

    @property
    def passed(self) -> bool:
        """Equal bits where they are expected, else agreement like that of seeds; the same data."""
        if not self.data_equal:
            return False
        if self.expected_equal:
            return self.largest == 0
        return self.agreement >= min(AGREEMENT, self.of_seeds)


def committed_runs(names: list[str]) -> pd.DataFrame:
    """All runs of the named committed results that today's training code would make, a row each,
    with the results' name, the group, and the labels of the group's seeds.

    A run that is in several groups is taken once.
    """
    parts = []
    for name in names:
        table = tables.read(name, "runs")
        labels = table.groupby(["group", "setting_id"])["seed_label"].transform(" ".join)
        parts.append(table.assign(results=name, labels=labels))
    if not parts:
        raise FileNotFoundError(f"no committed runs in {', '.join(names) or paths.COMMITTED}")
    found = pd.concat(parts, ignore_index=True)
    of_today = [
        provenance.training_code(architecture, generates=generates)
        for architecture in provenance.TRAINING_VERSIONS
        for generates in (False, True)
    ]
    current = found["code"].isin(of_today)
    if not current.all():
        print(f"{(~current).sum()} of {len(found)} runs were made by other code: `make campaign`")
    return found[current].drop_duplicates(["setting_id", "seed_label"])


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """The runs whose tasks can be read on this machine; the others are left out, and named."""
    missing = []
    for task in found["task"].unique():
        try:
            tasks.get(task).read()
        except TaskError as error:
            missing.append(task)
            print(f"{(found['task'] == task).sum()} runs of {task} are left out: {error}")
    return found[~found["task"].isin(missing)]


def again(row: dict[str, Any], device: str = "auto") -> Compared:
    """Make one committed run again, with those that are one program with it, and compare."""
    setting, label = config.from_row(row), row["seed_label"]
    _, seeds, batch = status.planned_runs(setting, row["labels"].split())[label]
    with tempfile.TemporaryDirectory() as store:
        finetune.finetune_seeds(setting, batch, device=device, store=store)
        made = runs.load(runs.folder(setting.id, seeds.label, store))
    group = run_group.read(row["results"], [row["group"]])[row["group"]]
    of_setting = group.take((group.runs["setting_id"] == setting.id).to_numpy())
    row_number = of_setting.names.index(label)
    committed = of_setting.logits[row_number]
    others = np.delete(of_setting.logits, row_number, 0)
    here = tables.as_stored(made.logits)
    record = {**made.record, "versions": json.dumps(made.record["versions"])}
    difference = np.abs(here - committed)
    both_lost = np.isnan(here) & np.isnan(committed)
    return Compared(
        results=row["results"],
        setting_id=setting.id,
        seed_label=label,
        expected_equal=all(record[name] == row[name] for name in _SAME),
        data_equal=made.record["data_sha256"] == row["data_sha256"],
        largest=float(np.where(both_lost, 0, difference).max()),
        agreement=_agreement(here, committed),
        of_seeds=min((_agreement(other, committed) for other in others), default=1.0),
        score=np.nan if record["score"] is None else record["score"],
        committed_score=np.nan if row["score"] is None else row["score"],
    )


def _agreement(here: np.ndarray, committed: np.ndarray) -> float:
    """Share of examples with the same class; for regression, and for the likelihoods of runs that
    generate texts, the correlation of the outputs.
    """
    if here.shape[-1] == 1:
        return float(np.corrcoef(here[:, 0], committed[:, 0])[0, 1])
    return float((here.argmax(-1) == committed.argmax(-1)).mean())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Make a random sample of the committed runs again and compare their logits."
    )
    parser.add_argument("results", nargs="*", help="names of committed results (default: all)")
    parser.add_argument("--sample", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--seed", type=int, help="of the sample; printed if not given")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, …")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    found = readable(committed_runs(options.results or tables.committed()))
    shuffled = found.sample(frac=1, random_state=seed)
    chosen = shuffled.groupby("results", sort=False).head(options.sample)
    print(f"{len(chosen)} of {len(found)} committed runs, sample {seed}")
    rows = [again(row, options.device) for row in tqdm(chosen.to_dict("records"), unit="run")]
    table = pd.DataFrame([{**vars(row), "passed": row.passed} for row in rows])
    print(table.round(4).to_string(index=False))
    equal = (table["largest"] == 0).sum()
    print(f"{equal} of {len(table)} equal to the bit; {(~table['passed']).sum()} failed")
    sys.exit(0 if table["passed"].all() else 1)


if __name__ == "__main__":
    main()
