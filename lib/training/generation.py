"""Runs that generate texts: the learner, and what a trained model generates and predicts.

Beside ``learners`` and ``evaluation``, which are about classes and numbers.
"""

import itertools
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lib.data.examples import NO_TOKEN, Encoded, Loader
from lib.measures.generation import METRICS, text_scores
from lib.models import backbones, devices, generators
from lib.training.evaluation import EVAL_BATCH, Evaluation
from lib.training.inputs import RunInputs
from lib.training.learners import Outputs, SingleModel

#: Where this share of its texts is the same, a run has collapsed.
ONE_TEXT = 0.99
#: What an example's own input has to add at least to the log-likelihood of a reference's token, in
#: nats, over the input of another: with less the run ignores what it is given.
LEAST_GAIN = 0.01
#: Texts that are sampled for each input, with decoding seeds 0, 1, …
N_SAMPLED = 5


class SingleGenerator(SingleModel):
    """One model that generates texts, which is called with rows (1, B) of its data: logits
    (1, B, T, V) of the tokens (1, B, T) of their references. There are no features.
    """

    watched = False

    def __call__(self, rows: np.ndarray) -> Outputs:
        inputs, _ = self.loader.batch(rows[0])
        targets = self.loader.target_tokens(rows[0])
        with devices.autocast(targets.device, self.precision):
            logits, _ = generators.teacher_forced(self.model, inputs, targets)
        return Outputs(logits[None], logits.new_zeros(1, len(targets), 0), targets[None])


def decoding_numbers(seed: int, shape: tuple[int, int]) -> torch.Tensor:
    """(N, T) what texts are sampled by with a decoding seed: the same for all runs."""
    entropy = [seed, zlib.crc32(b"decoding")]
    drawn = np.random.default_rng(np.random.SeedSequence(entropy)).random(shape, np.float32)
    return torch.from_numpy(drawn)


def vocabulary(inputs: RunInputs) -> np.ndarray:
    """(V',) the tokens of the references of training and evaluation, ascending."""
    parts = (inputs.data.train.targets, inputs.data.evaluation.targets)
    return np.unique(np.concatenate(parts))


@torch.no_grad()
def evaluate(inputs: RunInputs, model: torch.nn.Module, device: torch.device) -> Evaluation:
    """What a model predicts and generates, for all examples in their order.

    ``logits`` (N, 1) are the mean log-likelihood of the tokens of the first reference, in nats.
    ``vectors`` are of the decoder's states at that reference: ``last``, where its last token is
    predicted, and ``mean``, over its tokens.

    ``generated`` holds ``texts`` (1 + N_SAMPLED, N), of greedy decoding first, and their ``scores``
    by the task's metric; ``elsewhere`` (N,), the same likelihood beside the input of another
    example; ``lengths`` (N,) of the references in tokens; ``tokens`` (T,), the most probable at
    each place of all references, one behind the other; ``probabilities`` (T, V' + 1) there, of the
    tokens of ``vocabulary`` and of all others together; and, where inputs are lists of slots,
    ``slots`` (N, K): which of them the greedy text realises. A model whose weights are not finite
    generates empty texts.
    """
    model.eval()
    data, setting = inputs.data.evaluation, inputs.setting
    tokenizer = backbones.load_tokenizer(inputs.located)
    kept = torch.from_numpy(vocabulary(inputs)).long().to(device)
    loader, order = Loader(data, device, typed=False), np.argsort(data.lengths, kind="stable")
    batches = [order[i : i + EVAL_BATCH] for i in range(0, len(order), EVAL_BATCH)]
    rows: dict[int, dict[str, Any]] = {}
    for batch in batches:
        given, targets = loader.batch(batch)[0], loader.target_tokens(batch)
        with devices.autocast(device, setting.precision):
            logits, states = generators.teacher_forced(model, given, targets, states=True)
            elsewhere = loader.batch((batch + len(data) // 2) % len(data))[0]
            others, _ = generators.teacher_forced(model, elsewhere, targets)
        logs, others = (one.float().log_softmax(-1) for one in (logits, others))
        for i, row in enumerate(batch):
            there = targets[i] != NO_TOKEN
            own, layers = logs[i, there], states[:, i, there]
            chances = own[:, kept].exp()
            rest = (1 - chances.sum(-1, keepdim=True)).clamp(min=0)
            rows[int(row)] = {
                "likelihood": own.gather(-1, targets[i, there][:, None]).mean(),
                "elsewhere": others[i, there].gather(-1, targets[i, there][:, None]).mean(),
                "tokens": own.argmax(-1),
                "probabilities": torch.cat([chances, rest], -1).half(),
                "last": layers[:, -1],
                "mean": layers.mean(1),
            }
    columns = {name: [rows[i][name].cpu().numpy() for i in range(len(data))] for name in rows[0]}
    texts = np.full((1 + N_SAMPLED, len(data)), "", object)
    is_finite = all(weight.isfinite().all() for weight in model.parameters())
    for number in range(1 + N_SAMPLED) if is_finite else ():
        shape = len(data), setting.max_length
        uniform = decoding_numbers(number - 1, shape).to(device) if number else None
        for batch in batches:
            numbers = None if uniform is None else uniform[batch]
            with devices.autocast(device, setting.precision):
                ids = generators.generate(
                    model, loader.batch(batch)[0], setting.max_length, uniform=numbers
                )
            texts[number, batch] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    read, references = inputs_of(data, tokenizer), references_of(data, tokenizer)
    metric = inputs.data.task.metric
    generated = {
        "texts": texts.astype(str),
        "scores": text_scores([*texts.tolist(), read], references, metric)[:-1],
        "elsewhere": np.array(columns["elsewhere"], np.float32),
        "lengths": np.array([len(own) for own in columns["tokens"]]),
        "tokens": np.concatenate(columns["tokens"]),
        "probabilities": np.concatenate(columns["probabilities"]),
    }
    if inputs.data.task.has_slots:
        generated["slots"] = realised(read, texts[0].tolist())
    return Evaluation(
        np.array(columns["likelihood"], np.float32)[:, None],
        {name: np.stack(columns[name], 1) for name in ("last", "mean")},
        generated,
    )


def clear(generated: Mapping[str, np.ndarray]) -> None:
    """Make what a diverged run generated and predicted nothing, in place."""
    nothing = {"texts": "", "tokens": 0, "slots": False}
    nothing |= dict.fromkeys(("scores", "elsewhere", "probabilities"), np.nan)
    for name, array in generated.items():
        if name in nothing:
            array[:] = nothing[name]


def inputs_of(data: Encoded, tokenizer: Any) -> list[str]:
    """The inputs, as the tokeniser reads them."""
    pieces = [data.tokens[a:b] for a, b in itertools.pairwise(data.starts)]
    return tokenizer.batch_decode(pieces, skip_special_tokens=True)


def realised(inputs: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """(N, K) booleans: which slots of an input, ``name: value, name: value``, the text for it
    realises, that is, whose value it holds. Inputs with fewer than K slots have False in the
    rest.
    """
    slots = [re.findall(r":([^,:]+)", given) for given in inputs]
    found = np.zeros((len(texts), max(map(len, slots))), bool)
    for row, (values, text) in enumerate(zip(slots, texts, strict=True)):
        words = f" {' '.join(text.lower().split())} "
        found[row, : len(values)] = [
            f" {' '.join(value.lower().split())} " in words for value in values
        ]
    return found


def references_of(data: Encoded, tokenizer: Any) -> list[list[str]]:
    """The references of each example, as the tokeniser reads and a model could generate them."""
    starts = data.target_starts
    pieces = [data.targets[a:b] for a, b in itertools.pairwise(starts)]
    texts = tokenizer.batch_decode(pieces, skip_special_tokens=True)
    return [texts[a:b] for a, b in itertools.pairwise(data.references)]


def baseline_likelihood(inputs: RunInputs) -> float:
    """Mean log-likelihood of a reference's token, in nats, of a model that draws each token either
    from those of the input or by how often it is used.

    How often each token of ``vocabulary`` is in the references of training is counted, and once
    more each. The share of copies is that which makes these references likeliest; 0 is one.
    """
    known = vocabulary(inputs)
    counts = np.bincount(np.searchsorted(known, inputs.data.train.targets), minlength=len(known))
    usual = (counts + 1) / (counts + 1).sum()
    shares = np.linspace(0, 0.95, 20)

    def likelihoods(data: Encoded) -> np.ndarray:
        means = []
        for i, j in enumerate(data.references[:-1]):
            tokens = data.targets[data.target_starts[j] : data.target_starts[j + 1]]
            given = data.tokens[data.starts[i] : data.starts[i + 1]]
            copied = (tokens[:, None] == given).mean(1)
            own = usual[np.searchsorted(known, tokens)]
            means.append(np.log(np.outer(shares, copied) + np.outer(1 - shares, own)).mean(1))
        return np.mean(means, 0)

    best = likelihoods(inputs.data.train).argmax()
    return float(likelihoods(inputs.data.evaluation)[best])


def score(inputs: RunInputs, evaluation: Evaluation, *, diverged: bool) -> dict[str, Any]:
    """Score and status of a run that generates texts, by greedy decoding.

    It has failed if its references are no likelier than ``baseline_likelihood``, or if it ignores
    its inputs: if the tokens of its references are less than ``LEAST_GAIN`` likelier than beside
    another example's input, or if it writes one text for 99 % of the inputs, which is collapsed.
    """
    metric, data = inputs.data.task.metric, inputs.data.evaluation
    others = [name for name in METRICS if name != metric]
    gain = float((evaluation.logits[:, 0] - evaluation.generated["elsewhere"]).mean())
    likelihood, least = float(evaluation.logits.mean()), baseline_likelihood(inputs)
    shared = {"metric": metric, "accuracy": None, "majority": None, "baseline": least}
    if diverged or not np.isfinite(likelihood):
        nothing = dict.fromkeys([*others, "likelihood", "gain"])
        return {**shared, "status": "diverged", "score": None, "other_scores": nothing}
    references = references_of(data, backbones.load_tokenizer(inputs.located))
    texts = evaluation.generated["texts"][0].tolist()
    scores = {
        name: float(text_scores([texts, texts], references, name)[0].mean()) for name in others
    }
    shares = np.unique(texts, return_counts=True)[1] / len(texts)
    failed = likelihood <= least or gain < LEAST_GAIN
    status = "collapsed" if shares.max() >= ONE_TEXT else "failed" if failed else "ok"
    return {
        **shared,
        "status": status,
        "score": float(evaluation.generated["scores"][0].mean()),
        "other_scores": scores | {"likelihood": likelihood, "gain": gain},
    }
