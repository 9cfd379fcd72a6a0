"""One run: fine-tune a pretrained encoder with a seed, evaluate it, record what happened.

The standard method of Du & Nguyen (released code): AdamW on all parameters, linear warm-up over
the first tenth of the steps and linear decay to zero, weight decay on all weights but biases and
LayerNorm, gradient norm clipped to 1.

Same setting, seed, machine, versions and thread count give the same bits.
"""

import argparse
import copy
import math
import os
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import get_linear_schedule_with_warmup

from lib import backbones, provenance, runs, scoring
from lib.batches import Encoded, Prepared, epoch_batches, pad, prepare
from lib.config import Grid, Setting, load_grid
from lib.seeds import Seeds

EVAL_BATCH = 64


def pick_device(device: str = "auto") -> torch.device:
    """``auto`` is the GPU if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def make_deterministic() -> None:
    """Have torch use deterministic kernels, and warn where a CUDA operation has none.

    CUDA's fused attention kernels are not deterministic in the backward pass; the plain one is.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)


def _inputs_of(model: torch.nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """Without token types for models that know only one type (RoBERTa's table has one row)."""
    if getattr(model.config, "type_vocab_size", 0) < 2:
        return {name: value for name, value in inputs.items() if name != "token_type_ids"}
    return inputs


def _optimizer(model: torch.nn.Module, setting: Setting) -> torch.optim.Optimizer:
    """AdamW without weight decay on biases and LayerNorm."""
    # Biases and the weights of norms are the vectors among the parameters, whatever their names.
    decayed = [weight for weight in model.parameters() if weight.ndim >= 2]
    spared = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": setting.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=setting.learning_rate, eps=1e-6, foreach=False)


@dataclass
class Evaluation:
    """What a model says about N examples. ``first`` and ``mean`` are (L + 1, N, D) layer vectors
    (embeddings first): the hidden state at position 0, and the mean over the tokens. In a choice
    between K candidates, the vectors of an example's candidates are one after the other: K · D.
    """

    logits: np.ndarray
    first: np.ndarray | None = None
    mean: np.ndarray | None = None


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, data: Encoded, device: torch.device, *, vectors: bool, precision: str
) -> Evaluation:
    """Logits (N, C) and, if asked for, the layer vectors of all examples, in their order."""
    model.eval()
    order = np.argsort(data.lengths, kind="stable")
    logits, first, mean = [], [], []
    for start in range(0, len(order), EVAL_BATCH):
        inputs, labels = pad(data, order[start : start + EVAL_BATCH], device)
        with _autocast(device, precision):
            output = model(**_inputs_of(model, inputs), output_hidden_states=vectors)
        logits.append(output.logits.float().reshape(len(labels), -1).cpu().numpy())
        if vectors:
            mask = inputs["attention_mask"][..., None].float()
            states = [state.float() for state in output.hidden_states]
            pooled = [s[:, 0] for s in states], [(s * mask).sum(1) / mask.sum(1) for s in states]
            for kept, layers in zip((first, mean), pooled, strict=True):
                kept.append(np.stack([v.reshape(len(labels), -1).cpu().numpy() for v in layers]))
    back = np.argsort(order)
    return Evaluation(
        np.concatenate(logits)[back],
        *(np.concatenate(part, axis=1)[:, back] if part else None for part in (first, mean)),
    )


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _distances(model: torch.nn.Module, start: dict[str, torch.Tensor]) -> dict[str, float]:
    """Euclidean distance from the start weights: of all pretrained weights, and of each layer."""
    squares: dict[str, float] = {}
    for name, weight in model.named_parameters():
        if name not in start:
            continue
        words = name.split(".")
        part = "embeddings" if "embeddings" in words else "other"
        if "layer" in words:
            part = f"layer{int(words[words.index('layer') + 1]) + 1}"
        square = (weight.detach().double() - start[name].double()).square().sum().item()
        squares[part] = squares.get(part, 0.0) + square
    return {
        "all": math.sqrt(sum(squares.values())),
        **{part: math.sqrt(square) for part, square in squares.items()},
    }


def train(
    model: torch.nn.Module,
    setting: Setting,
    data: Prepared,
    seeds: Seeds,
    device: torch.device,
    title: str,
) -> tuple[list[dict[str, float]], bool]:
    """Train ``model`` in place; leaves it in the state of the chosen checkpoint.

    Returns the log (one row a step: loss, learning rate, gradient norm) and whether the run
    diverged: training stops at the first loss or gradient that is not finite.
    """
    rng = np.random.default_rng(seeds.stream("order"))
    per_epoch = math.ceil(len(data.train) / setting.batch_size)
    n_steps = per_epoch * setting.epochs
    optimizer = _optimizer(model, setting)
    schedule = get_linear_schedule_with_warmup(optimizer, round(setting.warmup * n_steps), n_steps)
    loss_of = (
        torch.nn.functional.mse_loss if data.n_classes == 1 else torch.nn.functional.cross_entropy
    )
    look_every = max(1, per_epoch // setting.evals_per_epoch)
    best_score, best_weights = -math.inf, None
    log: list[dict[str, float]] = []
    torch.manual_seed(seeds.stream("dropout"))
    bar = tqdm(total=n_steps, desc=title, unit="step", leave=False)
    for _ in range(setting.epochs):
        for rows in epoch_batches(data.train.lengths, setting.batch_size, rng):
            step = len(log)
            model.train()
            inputs, labels = pad(data.train, rows, device)
            with _autocast(device, setting.precision):
                logits = model(**_inputs_of(model, inputs)).logits.float()
            logits = logits.reshape(len(labels), -1)
            loss = loss_of(logits.squeeze(-1) if data.n_classes == 1 else logits, labels)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(
                model.parameters(), setting.max_grad_norm or math.inf
            )
            rate = schedule.get_last_lr()[0]
            log.append(
                {"step": step, "loss": loss.item(), "lr": rate, "gradient_norm": norm.item()}
            )
            if not (math.isfinite(log[-1]["loss"]) and math.isfinite(log[-1]["gradient_norm"])):
                bar.close()
                return log, True
            optimizer.step()
            schedule.step()
            bar.update()
            bar.set_postfix(loss=f"{log[-1]['loss']:.3f}", refresh=False)
            if setting.checkpoint == "best" and (step + 1) % look_every == 0:
                score = _validate(model, data, setting, device)
                bar.set_postfix(loss=f"{log[-1]['loss']:.3f}", validation=f"{score:.3f}")
                if score > best_score:
                    best_score, best_weights = score, copy.deepcopy(model.state_dict())
    bar.close()
    if best_weights is not None:
        model.load_state_dict(best_weights)
    return log, False


def _validate(
    model: torch.nn.Module, data: Prepared, setting: Setting, device: torch.device
) -> float:
    seen = evaluate(model, data.validation, device, vectors=False, precision=setting.precision)
    held = data.validation
    return scoring.score_logits(
        data.metric, held.labels, seen.logits, groups=held.groups, credit=held.credit
    )


def run_fingerprint(setting: Setting, seeds: Seeds, data: str, backbone: str) -> str:
    """Identity of a run: what it depends on, and the code that makes it."""
    code = provenance.code_fingerprint(provenance.TRAINING_CODE)
    return provenance.digest(setting.to_dict(), vars(seeds), data, backbone, code)


def finetune(
    setting: Setting,
    seeds: Seeds,
    *,
    device: str = "auto",
    data: Prepared | None = None,
    located: backbones.Located | None = None,
) -> runs.Run:
    """Train and evaluate one run; nothing is written."""
    located = located or backbones.locate(setting.backbone)
    data = data or _prepare(setting, located)
    place = pick_device(device)
    make_deterministic()
    began = time.perf_counter()
    model, new = backbones.load_classifier(located, data.n_outputs, seeds.stream("init"))
    longest = getattr(model.config, "max_position_embeddings", setting.max_length)
    if setting.max_length > longest:
        raise ValueError(
            f"max_length = {setting.max_length}, but {setting.backbone} takes {longest}"
        )
    model.to(place)
    start = {
        name: weight.detach().clone()
        for name, weight in model.named_parameters()
        if name not in new
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log, diverged = train(model, setting, data, seeds, place, f"{setting.id} {seeds.label}")
        seen = evaluate(model, data.evaluation, place, vectors=True, precision=setting.precision)
    messages = sorted({str(warning.message) for warning in caught})
    outcome = scoring.judge(
        data.evaluation.labels,
        seen.logits,
        data.metric,
        diverged=diverged,
        other_metrics=data.other_metrics,
        groups=data.evaluation.groups,
        credit=data.evaluation.credit,
    )
    head, dirty = provenance.commit()
    record = {
        "setting_id": setting.id,
        "setting": setting.to_dict(),
        "seed_label": seeds.label,
        "seed": seeds.seed,
        "seed_init": seeds.init,
        "seed_order": seeds.order,
        "seed_dropout": seeds.dropout,
        **outcome,
        "n_train": len(data.train),
        "n_eval": len(data.evaluation),
        "final_loss": float(np.mean([row["loss"] for row in log[-20:]])),
        "steps": len(log),
        "distance": _distances(model, start),
        "newly_initialised": new,
        "wall_s": round(time.perf_counter() - began, 2),
        "device": torch.cuda.get_device_name() if place.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "deterministic": not any("deterministic" in message for message in messages),
        "warnings": messages,
        "classes": list(data.classes),
        "versions": provenance.versions(),
        "commit": head,
        "dirty": dirty,
        "code": provenance.code_fingerprint(provenance.TRAINING_CODE),
        "data_sha256": data.sha256,
        "backbone_sha256": located.sha256,
        "backbone_revision": located.revision,
        "fingerprint": run_fingerprint(setting, seeds, data.sha256, located.sha256),
    }
    return runs.Run(
        record=record,
        logits=seen.logits,
        labels=data.evaluation.labels,
        example_ids=data.evaluation.example_ids,
        log=log,
        first=seen.first,
        mean=seen.mean,
    )


def _prepare(setting: Setting, located: backbones.Located) -> Prepared:
    return prepare(setting, located.sha256, lambda: backbones.load_tokenizer(located))


def finetune_seeds(
    setting: Setting,
    all_seeds: list[Seeds],
    *,
    device: str = "auto",
    vectors: bool = True,
    store: "os.PathLike[str] | None" = None,
) -> list[dict[str, Any]]:
    """Train the runs that the store lacks, one after the other, each saved as it is finished.

    ``vectors``: a run whose layer vectors were deleted is trained again, to the same bits.
    Returns the records of all runs, those found included.
    """
    located = backbones.locate(setting.backbone)
    data = _prepare(setting, located)
    records = []
    bar = tqdm(all_seeds, desc=setting.id, unit="run")
    for seeds in bar:
        folder = runs.folder(setting.id, seeds.label, store)
        fingerprint = run_fingerprint(setting, seeds, data.sha256, located.sha256)
        record = runs.finished(folder, fingerprint, vectors=vectors)
        if record is None:
            run = finetune(setting, seeds, device=device, data=data, located=located)
            runs.save(run, folder)
            record = run.record
        records.append(record)
        score = "none" if record["score"] is None else f"{record['score']:.3f}"
        bar.set_postfix_str(f"{record['metric']} {score} {record['status']}")
    return records


def main(arguments: list[str] | None = None) -> None:
    """Train all runs of a configuration without Jupyter: ``python -m lib.finetune CONFIG``."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.finetune",
        description="Train the runs of a configuration that the store lacks, without notebooks.",
    )
    parser.add_argument("config", help="name in config/ or path of a .yaml file")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, …")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    grid: Grid = load_grid(options.config)
    streams = [Seeds.of(seed) for seed in grid.seeds]
    for setting in grid.settings:
        finetune_seeds(setting, streams, device=options.device, vectors=grid.keep_vectors)


if __name__ == "__main__":
    main()
