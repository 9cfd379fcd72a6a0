"""Pretraining continued on a task's texts: a checkpoint's own objective, masked words or the next.

Masked words as in Devlin et al. (2019): 15 % of the tokens are predicted, of which the model sees
80 % masked, 10 % replaced by another word and 10 % as they are. Special tokens never are.
"""

import hashlib
import json
import math
import shutil
import zlib
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    get_linear_schedule_with_warmup,
)

from lib import errors, paths, provenance
from lib.data.examples import Encoded, Loader, epoch_batches
from lib.errors import BackboneError
from lib.models import backbones, devices
from lib.models.backbones import Located

CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
#: The loss that is reported before and after is of at most this many rows, in evaluation mode.
LOOK_ROWS = 256
#: Beside the weights: recipe, steps, names that were new, and mean losses in nats, as loaded
#: (``loss_start``), after a new head was trained (``loss_head``) and in the end (``loss_end``).
RECORD = "pretraining.json"
#: The arrays of ``Encoded`` that hold text; labels and example ids are not among them.
TEXT = ("tokens", "types", "starts")


@errors.checked
class Recipe:
    """How the pretraining is continued. ``head_…``: for a new masked-LM head, before the rest."""

    epochs: Annotated[int, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    batch_size: Annotated[int, Field(gt=0)] = 16
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    head_epochs: Annotated[int, Field(gt=0)] = 1
    head_learning_rate: Annotated[float, Field(gt=0)] = 1e-3

    def stream(self, name: str) -> np.random.SeedSequence:
        """Streams of their own: not those of a fine-tuning run with the same number."""
        return np.random.SeedSequence([self.seed, zlib.crc32(f"pretraining {name}".encode())])


def continue_pretraining(
    located: Located, train: Encoded, recipe: Recipe, device: torch.device
) -> Located:
    """The backbone after more epochs of its own objective on the texts of ``train``.

    Labels are not used. Where an encoder's checkpoint has no masked-LM head, a new one (its
    output tied to the word embeddings, its bias at the words' log frequencies) is first trained
    alone, on the frozen encoder: its first, random gradients would spoil what the encoder knows.
    AdamW, a tenth of the steps of each phase for warm-up, then linear decay, gradient norm of at
    most 1.

    The result lies in the cache, keyed by backbone, tokens, recipe, kind of device and version of
    the training, and is reused when there. What the objective does not reach, such as a pooler,
    stays as it was.
    Raises ``ValueError`` for texts without a word or a loss that is not finite, ``BackboneError``
    for a checkpoint that cannot do this.
    """

    def write(folder: Path) -> None:
        Pretrainer(located, train, recipe, device).write(folder)

    key = provenance.digest(
        located.sha256,
        *(hashlib.sha256(getattr(train, name).tobytes()).hexdigest() for name in TEXT),
        vars(recipe),
        device.type,
        provenance.TRAINING_VERSIONS,
    )
    folder = paths.make_once(paths.CACHE / "pretrained" / key, write)
    return Located(str(folder), located.revision, key)


class Pretrainer:
    """A model with the head of its objective, and the texts ready to train it on.

    ``new``: the names of the parameters that the checkpoint lacks, never one of the encoder.
    ``kept``: weights of the checkpoint that the objective has no use for, by name.
    """

    def __init__(
        self, located: Located, train: Encoded, recipe: Recipe, device: torch.device
    ) -> None:
        self.located, self.recipe, self.device = located, recipe, device
        decoder = backbones.family_of(located).decoder
        torch.manual_seed(int(recipe.stream("init").generate_state(1)[0]))
        kind = AutoModelForCausalLM if decoder else AutoModelForMaskedLM
        self.model, missing = backbones.load_model(kind, located)
        self.prefix = f"{self.model.base_model_prefix}."
        self.new = [name for name in self.parameters() if name in missing]
        lost = [name for name in missing if name.startswith(self.prefix)]
        # An output of its own, as large as the vocabulary, cannot be learnt from a task's texts.
        lost += [n for n in self.new if n.endswith(("decoder.weight", "lm_head.weight"))]
        if lost:
            raise BackboneError(f"{located.path} lacks pretrained weights: {', '.join(lost[:3])}")
        self.kept = {} if decoder else self._kept()
        tokenizer, typed = backbones.load_tokenizer(located), backbones.takes_types(self.model)
        self.objective = Objective(train, tokenizer, causal=decoder, typed=typed)
        self.model.to(device)

    def start_bias_at_frequencies(self) -> None:
        """A new output bias starts at the words' log frequencies in the texts (plus a tenth of a
        word each), which a few hundred texts would not teach it: the head can attend to context.
        """
        for name in self.new:
            bias = self.parameters()[name]
            if bias.shape == (self.model.config.vocab_size,):
                counts = np.bincount(self.objective.data.tokens, minlength=len(bias)) + 0.1
                counts[self.objective.special] = 0.1
                bias.data.copy_(torch.from_numpy(np.log(counts / counts.sum())))

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Every parameter once, by name: one that encoder and head share, by the encoder's."""
        inner = backbones.encoder(self.model).named_parameters()
        named = {self.prefix + name: weight for name, weight in inner}
        inside = {id(weight) for weight in named.values()}
        head = {n: w for n, w in self.model.named_parameters() if id(w) not in inside}
        return named | head

    def _kept(self) -> dict[str, torch.Tensor]:
        base, missing = backbones.load_model(AutoModel, self.located)
        stored = {n: w.detach() for n, w in base.named_parameters() if n not in missing}
        trained = self.parameters()
        return {self.prefix + n: w for n, w in stored.items() if self.prefix + n not in trained}

    def write(self, folder: Path) -> None:
        """Train, and fill a folder: the source's own configuration and tokeniser, and new weights.

        Shared weights are stored once, under the encoder's name; what the source lacked and the
        objective did not add, such as a pooler, is still lacking.
        """
        devices.make_deterministic()
        record = self.run()
        weights = self.parameters() | self.kept
        plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
        save_file(plain, folder / "model.safetensors", {"format": "pt"})
        for pattern in ("*.json", "*.txt", "*.model", "*.jinja"):
            for file in Path(self.located.path).glob(pattern):
                if not file.name.endswith(".index.json"):
                    shutil.copyfile(file, folder / file.name)
        record |= {
            "recipe": vars(self.recipe),
            "rows": len(self.objective.data),
            "source_sha256": self.located.sha256,
            "device": self.device.type,
            "versions": provenance.versions(),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1))

    def run(self) -> dict[str, Any]:
        """Train; returns what ``RECORD`` holds of it."""
        self.start_bias_at_frequencies()
        torch.manual_seed(int(self.recipe.stream("dropout").generate_state(1)[0]))
        record: dict[str, Any] = {"newly_initialised": self.new, "loss_start": self.mean_loss()}
        steps = 0
        if self.new:
            steps += self.phase("head", self.recipe.head_epochs, self.recipe.head_learning_rate)
            record["loss_head"] = self.mean_loss()
        steps += self.phase("all", self.recipe.epochs, self.recipe.learning_rate)
        return {**record, "loss_end": self.mean_loss(), "steps": steps}

    def phase(self, name: str, epochs: int, learning_rate: float) -> int:
        """Train for some epochs; returns the number of steps. In the phase ``head`` all that the
        checkpoint brought is frozen: the encoder, and with it the tied output.
        """
        for parameter, weight in self.parameters().items():
            weight.requires_grad_(name != "head" or parameter in self.new)
        order, masks = (np.random.default_rng(s) for s in self.recipe.stream(name).spawn(2))
        batch_size = self.recipe.batch_size
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        n_steps = epochs * math.ceil(len(self.objective.data) / batch_size)
        optimizer = torch.optim.AdamW(
            [
                {"params": [w for w in trained if w.ndim >= 2], "weight_decay": 0.01},
                {"params": [w for w in trained if w.ndim < 2], "weight_decay": 0.0},
            ],
            lr=learning_rate,
            eps=1e-6,
            foreach=False,
        )
        schedule = get_linear_schedule_with_warmup(optimizer, round(0.1 * n_steps), n_steps)
        batches = chain.from_iterable(
            epoch_batches(self.objective.data.lengths, batch_size, order) for _ in range(epochs)
        )
        bar = tqdm(batches, f"pretrain ({name})", total=n_steps, unit="step", leave=False)
        self.model.train()
        for step, rows in enumerate(bar):
            loss = self.loss(rows, masks)
            if not math.isfinite(loss.item()):
                raise ValueError(
                    f"continued pretraining diverged at step {step} ({name}): lower the learning "
                    f"rate, {learning_rate:g}"
                )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        return n_steps

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Mean cross-entropy (nats) of the predicted tokens of a batch."""
        inputs, where, right = self.objective.batch(rows, rng, self.device)
        with devices.autocast(self.device, self.recipe.precision):
            encoder = backbones.encoder(self.model)
            states = encoder(**inputs).last_hidden_state
            # The output is as wide as the vocabulary: only where something is predicted.
            head = next(module for module in self.model.children() if module is not encoder)
            logits = head(states[where]).float()
        return torch.nn.functional.cross_entropy(logits, right)

    @torch.no_grad()
    def mean_loss(self) -> float:
        """Mean loss without dropout; the same rows and masked words whenever it is asked for."""
        self.model.eval()
        rng = np.random.default_rng(self.recipe.stream("look"))
        rows = np.arange(min(len(self.objective.data), LOOK_ROWS))
        batches = np.array_split(rows, math.ceil(len(rows) / self.recipe.batch_size))
        return float(np.mean([self.loss(batch, rng).item() for batch in batches]))


#: Model inputs, which positions (B, T) predict, and which tokens (n,) are right there.
Batch = tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]


class Objective:
    """An objective on the texts of ``data``: those that hold something to predict.

    ``typed``: whether the model takes token types. Raises ``ValueError`` if no text is left,
    ``BackboneError`` if masked words are asked of a tokeniser without a mask token.
    """

    def __init__(self, data: Encoded, tokenizer: Any, *, causal: bool, typed: bool) -> None:
        if not causal and tokenizer.mask_token_id is None:
            raise BackboneError("the tokeniser has no mask token, so no words can be masked")
        self.causal, self.mask_id = causal, tokenizer.mask_token_id
        self.special = np.array(tokenizer.all_special_ids)
        self.words = np.setdiff1d(np.arange(len(tokenizer)), self.special)
        ordinary = np.concatenate([[0], np.cumsum(~np.isin(data.tokens, self.special))])
        n_words = np.diff(ordinary[data.starts])
        rows = np.flatnonzero((n_words > 0) & (data.lengths > 1))
        if not len(rows):
            raise ValueError(f"none of the {len(data)} texts holds a word to predict")
        self.data = data.take(rows)
        self.loader = Loader(self.data, torch.device("cpu"), typed=typed)

    def batch(self, rows: np.ndarray, rng: np.random.Generator, device: torch.device) -> Batch:
        """The batch of the given rows; ``rng`` draws which words are masked."""
        inputs, _ = self.loader.batch(rows)
        tokens = inputs["input_ids"].numpy()
        real = inputs["attention_mask"].numpy() == 1
        if self.causal:
            # Every token but the first is predicted, at the place of the one before it.
            where = np.zeros(real.shape, bool)
            where[:, :-1] = real[:, 1:]
            right = tokens[:, 1:][where[:, :-1]]
        else:
            ordinary = real & ~np.isin(tokens, self.special)
            seen, where = corrupt(tokens, ordinary, self.mask_id, self.words, rng)
            inputs["input_ids"] = torch.from_numpy(seen)
            right = tokens[where]
        moved = {name: value.to(device) for name, value in inputs.items()}
        return moved, torch.from_numpy(where).to(device), torch.from_numpy(right).to(device)


def corrupt(
    tokens: np.ndarray,
    ordinary: np.ndarray,
    mask_id: int,
    words: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Masked-LM input from tokens (B, T): what the model sees, and the positions that it predicts.

    ``ordinary`` (B, T) marks tokens that are neither special nor padding; in each row 15 % of
    them, at least one, are chosen. Replacements are drawn from ``words``.
    """
    rank = np.where(ordinary, rng.random(tokens.shape), np.inf).argsort(1).argsort(1)
    n_ordinary = ordinary.sum(1)
    n_chosen = np.minimum(np.maximum(np.rint(CHOSEN * n_ordinary), 1), n_ordinary)
    chosen = rank < n_chosen[:, None]
    fate = rng.random(tokens.shape)
    seen = np.where(chosen & (fate < MASKED), mask_id, tokens)
    other = chosen & (fate >= MASKED) & (fate < MASKED + REPLACED)
    return np.where(other, rng.choice(words, tokens.shape), seen), chosen
