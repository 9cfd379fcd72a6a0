"""Runs that write texts: the learner, and what a trained model writes and expects.

Beside ``learners`` and ``evaluation``, which are about classes and numbers.
"""

import itertools
import zlib
from typing import Any

import numpy as np
import torch

from lib.data.examples import NO_TOKEN, Encoded, Loader
from lib.measures import generation
from lib.models import backbones, devices, generators
from lib.training.evaluation import EVAL_BATCH, Evaluation
from lib.training.inputs import RunInputs
from lib.training.learners import Outputs, SingleModel

#: Metrics of a text against its references; the first that is not the task's own comes second.
METRICS = ("rouge_l", "chrf", "exact")
#: Of so many texts in a hundred that are the same, a run has collapsed.
ONE_TEXT = 0.99


class Writer(SingleModel):
    """One model that writes, which is called with rows (1, B) of its data: logits (1, B, T, V) of
    the tokens (1, B, T) of their references. There are no features.
    """

    watched = False

    def __call__(self, rows: np.ndarray) -> Outputs:
        inputs, _ = self.loader.batch(rows[0])
        targets = self.loader.written(rows[0])
        with devices.autocast(targets.device, self.precision):
            logits, _ = generators.teacher_forced(self.model, inputs, targets)
        return Outputs(logits[None], logits.new_zeros(1, len(targets), 0), targets[None])


def decoding_seed(number: int) -> int:
    """The seed of torch's generator for the ``number``-th drawn texts, the same for all runs."""
    entropy = [number, zlib.crc32(b"decoding")]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def vocabulary(inputs: RunInputs) -> np.ndarray:
    """(V',) the tokens of the references of training and evaluation, ascending."""
    parts = (inputs.data.train.targets, inputs.data.evaluation.targets)
    return np.unique(np.concatenate(parts))


@torch.no_grad()
def evaluate(inputs: RunInputs, model: torch.nn.Module, device: torch.device) -> Evaluation:
    """What a model expects and writes, for all examples in their order.

    ``logits`` (N, 1) are the mean log-likelihood of the tokens of the first reference, in nats.
    ``vectors`` are of the decoder's states at that reference: ``last``, where its last token is
    predicted, and ``mean``, over its tokens.

    ``written`` holds ``texts`` (1 + samples, N), the likeliest and then those drawn with decoding
    seeds 0, 1, …; ``lengths`` (N,) of the references in tokens; ``tokens`` (T,), the likeliest at
    each place of all references, one behind the other; and ``probabilities`` (T, V' + 1) there, of
    the tokens of ``vocabulary`` and of all others together.
    """
    model.eval()
    data, setting = inputs.data.evaluation, inputs.setting
    tokenizer = backbones.load_tokenizer(inputs.located)
    kept = torch.from_numpy(vocabulary(inputs)).long().to(device)
    loader, order = Loader(data, device, typed=False), np.argsort(data.lengths, kind="stable")
    batches = [order[i : i + EVAL_BATCH] for i in range(0, len(order), EVAL_BATCH)]
    rows: dict[int, dict[str, Any]] = {}
    for batch in batches:
        given, targets = loader.batch(batch)[0], loader.written(batch)
        with devices.autocast(device, setting.precision):
            logits, states = generators.teacher_forced(model, given, targets, states=True)
        logs = logits.float().log_softmax(-1)
        for i, row in enumerate(batch):
            there = targets[i] != NO_TOKEN
            own, layers = logs[i, there], states[:, i, there]
            chances = own[:, kept].exp()
            rest = (1 - chances.sum(-1, keepdim=True)).clamp(min=0)
            rows[int(row)] = {
                "likelihood": own.gather(-1, targets[i, there][:, None]).mean(),
                "tokens": own.argmax(-1),
                "probabilities": torch.cat([chances, rest], -1).half(),
                "last": layers[:, -1],
                "mean": layers.mean(1),
            }
    columns = {name: [rows[i][name].cpu().numpy() for i in range(len(data))] for name in rows[0]}
    texts = np.empty((1 + setting.samples, len(data)), object)
    for number in range(1 + setting.samples):
        torch.manual_seed(decoding_seed(number - 1) if number else 0)
        for batch in batches:
            with devices.autocast(device, setting.precision):
                ids = generators.write(
                    model, loader.batch(batch)[0], setting.max_target_length, sampled=number > 0
                )
            texts[number, batch] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return Evaluation(
        np.array(columns["likelihood"], np.float32)[:, None],
        {name: np.stack(columns[name], 1) for name in ("last", "mean")},
        {
            "texts": texts.astype(str),
            "lengths": np.array([len(own) for own in columns["tokens"]]),
            "tokens": np.concatenate(columns["tokens"]),
            "probabilities": np.concatenate(columns["probabilities"]),
        },
    )


def references_of(data: Encoded, tokenizer: Any) -> list[list[str]]:
    """The references of each example, as the tokeniser reads them: as a model could write them."""
    starts = data.target_starts
    pieces = [data.targets[a:b] for a, b in itertools.pairwise(starts)]
    texts = tokenizer.batch_decode(pieces, skip_special_tokens=True)
    return [texts[a:b] for a, b in itertools.pairwise(data.references)]


def unigram_likelihood(inputs: RunInputs) -> float:
    """Mean log-likelihood of a reference's token, in nats, of a model that knows how often each
    token of ``vocabulary`` is in the references of training, counted once more each.
    """
    known, data = vocabulary(inputs), inputs.data.evaluation
    counts = np.bincount(np.searchsorted(known, inputs.data.train.targets), minlength=len(known))
    logs = np.log((counts + 1) / (counts + 1).sum())
    starts = data.target_starts
    first = [data.targets[starts[j] : starts[j + 1]] for j in data.references[:-1]]
    return float(np.mean([logs[np.searchsorted(known, own)].mean() for own in first]))


def score(inputs: RunInputs, evaluation: Evaluation, *, diverged: bool) -> dict[str, Any]:
    """Score and status of a run that writes, from its likeliest texts.

    It has failed if its references are no likelier than for ``unigram_likelihood``, or if its texts
    score no better than copies of the inputs; collapsed, if it writes one text for 99 % of them.
    """
    metric, data = inputs.data.task.metric, inputs.data.evaluation
    likelihood = float(evaluation.logits.mean())
    nothing = {"accuracy": None, "majority": None}
    if diverged or not np.isfinite(likelihood):
        others = dict.fromkeys([name for name in METRICS if name != metric] + ["likelihood"])
        return {"status": "diverged", "metric": metric, "score": None, "other_scores": others,
                **nothing}  # fmt: skip
    tokenizer = backbones.load_tokenizer(inputs.located)
    references = references_of(data, tokenizer)
    starts = data.starts
    inputs_read = [data.tokens[a:b] for a, b in itertools.pairwise(starts)]
    copies = tokenizer.batch_decode(inputs_read, skip_special_tokens=True)
    texts = evaluation.written["texts"][0].tolist()
    scores = {name: generation.text_scores([texts, copies], references, name).mean(1)
              for name in METRICS}  # fmt: skip
    least = unigram_likelihood(inputs)
    failed = likelihood <= least or scores[metric][0] <= scores[metric][1]
    shares = np.unique(texts, return_counts=True)[1] / len(texts)
    collapsed = failed and shares.max() >= ONE_TEXT
    others = {name: float(own[0]) for name, own in scores.items() if name != metric}
    return {
        "status": "collapsed" if collapsed else "failed" if failed else "ok",
        "metric": metric,
        "score": float(scores[metric][0]),
        "other_scores": others | {"likelihood": likelihood},
        "baselines": {"likelihood": least, "copy": float(scores[metric][1])},
        **nothing,
    }
