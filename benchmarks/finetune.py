"""Benchmark of fine-tuning a group of seeds: ours, one at a time and as one program, and Trainer.

    python -m benchmarks.finetune                                # CPU: bert-tiny and minilm-l6
    python -m benchmarks.finetune --device cuda --backbones minilm-l6 mpnet-base --seeds 20
    python -m benchmarks.finetune --quick                        # tiny: only to see that it runs

Every way trains the same backbone on the same rows for the same number of steps with the same
seeds, batch size, optimiser and schedule, in the same run on the same machine; the order in which
examples come is each way's own. Loading the model and evaluating it are left out of the seconds.
Ours runs with the deterministic kernels that it always uses; transformers' Trainer with ordinary
settings (random batches padded to their longest, any kernels), with its own length grouping, and on
a GPU as several processes at once. Ways are warmed up and take turns, each time beginning with
another, so that a machine that slows down slows all; Trainers at once come last. Scores stand
beside the seconds, with a verdict on whether they agree within seed noise. Nothing here is a test:
where Trainer is faster the row stays.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from lib import paths, provenance
from lib.config import Setting
from lib.config.seeds import Seeds
from lib.measures import scoring
from lib.models import backbones, devices
from lib.training import evaluation, loop, optimizers
from lib.training.inputs import RunInputs, prepare_inputs

OURS, TOGETHER = "ours, one at a time", "ours, seeds as one program"
#: Longest wait for a Trainer process, in seconds: one that ran out of memory never answers.
WAIT = 1800
ORDINARY, GROUPED = "Trainer", "Trainer, length grouping"


@dataclasses.dataclass(frozen=True)
class Job:
    """What every way has to do."""

    inputs: RunInputs
    seeds: tuple[int, ...]
    device: str

    @property
    def setting(self) -> Setting:
        return self.inputs.setting


def wait(device: torch.device) -> float:
    """The time when the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def score(job: Job, model: torch.nn.Module) -> float:
    """The trained model's accuracy on the evaluation rows."""
    held, place = job.inputs.data.evaluation, devices.pick(job.device)
    seen = evaluation.evaluate(model, held, place, precision="float32")
    return scoring.score("accuracy", held.labels, scoring.decide(seen.logits))


def loaded(job: Job, seed: int) -> torch.nn.Module:
    stream = Seeds.of(seed).stream("init")
    located, data = job.inputs.located, job.inputs.data
    model, _ = backbones.load_classifier(located, data.n_outputs, stream)
    return model.to(devices.pick(job.device))


def deterministic(wanted: bool) -> None:
    """What ``lib.training.finetune`` asks of torch, or what torch does unasked."""
    if wanted:
        devices.make_deterministic()
        return
    torch.use_deterministic_algorithms(False)
    for switch in ("flash", "mem_efficient", "cudnn"):
        getattr(torch.backends.cuda, f"enable_{switch}_sdp")(True)


def ours(job: Job, seeds: Sequence[int]) -> tuple[float, list[float]]:
    """Seconds of training, and scores, of the seeds as one program (of one: alone)."""
    place = devices.pick(job.device)
    deterministic(True)
    models = [loaded(job, seed) for seed in seeds]
    streams = [Seeds.of(seed) for seed in seeds]
    began = wait(place)
    loop.train(job.inputs, models, streams, place, new=set())
    return wait(place) - began, [score(job, model) for model in models]


def rows_for_trainer(job: Job) -> list[dict]:
    """The same tokens, as a data set of Trainer's."""
    train = job.inputs.data.train
    return [
        {
            "input_ids": train.tokens[train.starts[i] : train.starts[i + 1]].tolist(),
            "token_type_ids": train.types[train.starts[i] : train.starts[i + 1]].tolist(),
            "labels": int(train.labels[i]),
        }
        for i in range(len(train))
    ]


def theirs(job: Job, grouped: bool, seed: int) -> tuple[float, list[float]]:
    """The same for one run of Trainer."""
    setting, place = job.setting, devices.pick(job.device)
    deterministic(False)
    model = loaded(job, seed)
    rows = rows_for_trainer(job)
    if getattr(model.config, "type_vocab_size", 0) < 2:
        rows = [{k: v for k, v in row.items() if k != "token_type_ids"} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=setting.epochs,
            per_device_train_batch_size=setting.batch_size,
            learning_rate=setting.learning_rate,
            weight_decay=setting.weight_decay,
            warmup_steps=setting.warmup,
            lr_scheduler_type=setting.schedule,
            max_grad_norm=setting.max_grad_norm,
            adam_epsilon=optimizers.EPSILON,
            train_sampling_strategy="group_by_length" if grouped else "random",
            bf16=setting.precision == "bfloat16",
            use_cpu=place.type == "cpu",
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        collate = DataCollatorWithPadding(backbones.load_tokenizer(job.inputs.located))
        peer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
        began = wait(place)
        peer.train()
        seconds = wait(place) - began
    return seconds, [score(job, model)]


def _trainer_process(job: Job, seeds: Sequence[int], results: "multiprocessing.Queue") -> None:
    torch.set_num_threads(1)
    results.put([theirs(job, True, seed)[1][0] for seed in seeds])


def concurrent_trainers(job: Job, processes: int) -> tuple[float, list[float]]:
    """Seconds and scores of all seeds, dealt to so many Trainer processes on one GPU.

    The processes start, load and evaluate inside these seconds, which favours ours by the few
    seconds that a start takes; the table says so.
    """
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    began = time.perf_counter()
    workers = [
        context.Process(target=_trainer_process, args=(job, job.seeds[i::processes], results))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    scores: list[float] = []
    for _ in workers:
        scores += results.get(timeout=WAIT)
    for worker in workers:
        worker.join()
    return time.perf_counter() - began, scores


def peak_rate(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product, the best of five."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    best = np.inf
    for _ in range(6):
        began = wait(device)
        a @ b
        best = min(best, wait(device) - began)
    return 2 * size**3 / best


def useful_work(job: Job) -> tuple[int, float]:
    """Tokens of the training (padding not counted), and their floating-point operations in the
    linear layers, forward and backward: 6 a weight and token.
    """
    model = loaded(job, 0)
    weights = sum(
        weight.numel()
        for name, weight in backbones.layers(model).named_parameters()
        if weight.ndim == 2
    )
    tokens = int(np.diff(job.inputs.data.train.starts).sum()) * job.setting.epochs
    return tokens, 6.0 * weights * tokens


def measure(job: Job, processes: Sequence[int]) -> pd.DataFrame:
    """A row a way: seconds of the whole group, tokens a second, share of the peak, scores."""
    place = devices.pick(job.device)
    size, n = job.setting.seeds_per_batch, len(job.seeds)
    ways: dict[str, Callable[[int], tuple[float, list[float]]]] = {
        OURS: lambda seed: ours(job, [seed]),
        ORDINARY: partial(theirs, job, False),
        GROUPED: partial(theirs, job, True),
    }
    seconds = dict.fromkeys([*ways, TOGETHER], 0.0)
    scores: dict[str, list[float]] = {name: [] for name in seconds}
    for one in tqdm([*ways.values(), lambda _: ours(job, job.seeds[:size])], "warm up"):
        one(job.seeds[0])
    order = list(ways)
    for i, seed in enumerate(tqdm(job.seeds, f"{job.setting.backbone} {job.setting.precision}")):
        for name in order[i % len(order) :] + order[: i % len(order)]:
            took, found = ways[name](seed)
            seconds[name] += took
            scores[name] += found
        if (i + 1) % size == 0 or i + 1 == n:
            took, found = ours(job, job.seeds[i - i % size : i + 1])
            seconds[TOGETHER] += took
            scores[TOGETHER] += found
    for count in processes:
        name = f"{count} Trainers at once, length grouping"
        seconds[name], scores[name] = concurrent_trainers(job, count)
    tokens, work = useful_work(job)
    peak = peak_rate(place, job.setting.precision)
    return pd.DataFrame(
        [
            {
                "backbone": job.setting.backbone,
                "task": job.setting.task,
                "rows": len(job.inputs.data.train),
                "precision": job.setting.precision,
                "seeds": n,
                "way": name,
                "seconds": round(seconds[name], 2),
                "tokens_per_second": round(n * tokens / seconds[name]),
                "share_of_peak": round(n * work / seconds[name] / peak, 3),
                "faster_than_trainer": round(seconds[ORDINARY] / seconds[name], 2),
                "mean_score": round(float(np.mean(scores[name])), 4),
                "sd_score": round(float(np.std(scores[name], ddof=1)), 4) if n > 1 else None,
            }
            for name in seconds
        ]
    )


def describe(table: pd.DataFrame, device: torch.device) -> str:
    """The table as Markdown, with the machine that it was measured on."""
    name = (
        torch.cuda.get_device_name() if device.type == "cuda" else provenance.made_by()["processor"]
    )
    versions = ", ".join(f"{k} {v}" for k, v in provenance.versions().items())
    lines = [
        "# Fine-tuning a group of seeds, beside transformers' Trainer",
        "",
        f"{name}, {os.cpu_count()} cores of which each way uses {torch.get_num_threads()}, load "
        f"average {os.getloadavg()[0]:.1f} at the end; {versions}. Made by "
        "`python -m benchmarks.finetune`.",
        "",
        "Seconds are of training the whole group. `tokens_per_second` and `share_of_peak` (of a "
        "large matrix product measured in the same run) count real tokens, not padding. "
        "`faster_than_trainer` is against Trainer's ordinary settings at the same precision.",
        "",
    ]
    for (backbone, task), part in table.groupby(["backbone", "task"], sort=False):
        first = part.iloc[0]
        lines += [f"## {backbone}, {task}, {first['rows']} rows, {first['seeds']} seeds", ""]
        columns = [c for c in part if c not in ("backbone", "task", "rows", "seeds")]
        lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(map(str, row))} |" for row in part[columns].to_numpy().tolist()]
        lines.append("")
        took = part.set_index(["way", "precision"])["seconds"]
        if {"float32", "bfloat16"} <= set(part["precision"]):
            slow = took[ORDINARY, "float32"]
            ours_fast, theirs_fast = (slow / took[way, "bfloat16"] for way in (OURS, ORDINARY))
            lines += [
                f"Against Trainer in float32, ours in bfloat16 is {ours_fast:.2f} times as fast; "
                f"Trainer's own bfloat16 {theirs_fast:.2f} times.",
                "",
            ]
        lines += [verdict(part), ""]
    return "\n".join(lines)


def verdict(part: pd.DataFrame) -> str:
    """Whether the mean scores of the ways lie within three standard errors of each other.

    The error is that of a mean over the seeds, from the largest SD of a way.
    """
    words = []
    for precision, same in part.groupby("precision", sort=False):
        if not same["sd_score"].notna().all():
            continue
        gap = same["mean_score"].max() - same["mean_score"].min()
        error = same["sd_score"].max() * np.sqrt(2 / same["seeds"].iloc[0])
        agree = "agree" if gap <= 3 * error else "**do not agree**"
        words.append(f"in {precision} they {agree} (largest gap {gap:.3f}, its error {error:.3f})")
    return f"Scores: {'; '.join(words)}." if words else "Scores: one seed says nothing."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["bert-tiny", "minilm-l6"])
    parser.add_argument("--task", default="rte", help="rte (default; needs GLUE_DIR or the hub), …")
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seeds-per-batch", type=int, default=0, help="0: all as one program")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--processes", nargs="*", type=int, help="Trainers at once; GPU: 2 4 8")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks")
    parser.add_argument("--quick", action="store_true", help="a tiny run, to see that it works")
    options = parser.parse_args()
    if options.quick:
        options.backbones, options.task = ["bert-tiny"], "rotten-tomatoes"
        options.rows, options.seeds, options.precisions = 32, 2, ["float32"]
    torch.set_num_threads(1)
    place = devices.pick(options.device)
    processes = options.processes
    if processes is None:
        processes = [2, 4, 8] if place.type == "cuda" else []
    tables = []
    options.out.mkdir(parents=True, exist_ok=True)
    for backbone in options.backbones:
        for precision in options.precisions:
            setting = Setting(
                backbone=backbone,
                task=options.task,
                train_rows=options.rows,
                eval_rows=300,
                epochs=options.epochs,
                learning_rate=3e-4 if backbone == "bert-tiny" else 5e-5,
                precision=precision,
                seeds_per_batch=options.seeds_per_batch or options.seeds,
            )
            job = Job(prepare_inputs(setting), tuple(range(options.seeds)), options.device)
            tables.append(measure(job, processes))
            table = pd.concat(tables, ignore_index=True)
            stem = f"finetune_{place.type}"
            table.to_csv(options.out / f"{stem}.csv", index=False)
            (options.out / f"{stem}.md").write_text(describe(table, place))
    print(describe(table, place))


if __name__ == "__main__":
    main()
