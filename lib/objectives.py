"""The unsupervised objectives that pretraining continues: masked words, or the next word.

Masked words as in Devlin et al. (2019): 15 % of the tokens are predicted, of which the model sees
80 % masked, 10 % replaced by another word and 10 % as they are. Special tokens never are.
"""

from typing import Any

import numpy as np
import torch

from lib.batches import Encoded
from lib.errors import BackboneError
from lib.loading import Loader

CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1

#: Model inputs, which positions (B, T) predict, and which tokens (n,) are right there.
Batch = tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]


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


class Objective:
    """An objective on the texts of ``data``: those that hold something to predict.

    ``typed``: whether the model takes token types. Raises ``ValueError`` if no text is left,
    ``BackboneError`` if masked words are asked of a tokeniser without a mask token.
    """

    def __init__(self, data: Encoded, tokenizer: Any, *, causal: bool, typed: bool) -> None:
        if not causal and tokenizer.mask_token_id is None:
            raise BackboneError("the tokeniser has no mask token, so no words can be masked")
        self.causal, self.typed, self.mask_id = causal, typed, tokenizer.mask_token_id
        self.special = np.array(tokenizer.all_special_ids)
        self.words = np.setdiff1d(np.arange(len(tokenizer)), self.special)
        self.data = data.take(self._rows_with_words(data))
        self.loader = Loader(self.data, torch.device("cpu"))

    def _rows_with_words(self, data: Encoded) -> np.ndarray:
        ordinary = np.concatenate([[0], np.cumsum(~np.isin(data.tokens, self.special))])
        n_words = np.diff(ordinary[data.starts])
        rows = np.flatnonzero((n_words > 0) & (data.lengths > 1))
        if not len(rows):
            raise ValueError(f"none of the {len(data)} texts holds a word to predict")
        return rows

    def batch(self, rows: np.ndarray, rng: np.random.Generator, device: torch.device) -> Batch:
        """The batch of the given rows; ``rng`` draws which words are masked."""
        inputs, _ = self.loader.batch(rows)
        if not self.typed:
            del inputs["token_type_ids"]
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
