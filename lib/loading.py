"""Batches on the device: tokens are moved there once, each batch is cut out by index."""

from typing import Any

import numpy as np
import torch

from lib.batches import Encoded


class Loader:
    """Padded batches of tokenised examples; nothing in a batch waits for the device."""

    def __init__(self, data: Encoded, device: torch.device) -> None:
        self.device, self.choices = device, data.choices
        self.lengths_here = data.lengths
        self.pad_id = int(data.pad_id)
        self.tokens, self.types, self.starts, self.lengths = (
            torch.from_numpy(np.asarray(array, np.int64)).to(device)
            for array in (data.tokens, data.types, data.starts[:-1], np.diff(data.starts))
        )
        self.labels = torch.from_numpy(data.labels).to(device)

    def batch(self, rows: np.ndarray) -> tuple[dict[str, Any], torch.Tensor]:
        """Inputs (…, B · choices, T) and labels (…, B) of rows (B,), or (S, B) for S seeds at once.

        T is the longest sequence of the batch. In a choice the candidates of an example follow
        each other, and the model's one logit for each becomes one of the example's.
        """
        longest = int(self.lengths_here[rows].max())
        at = torch.from_numpy(np.asarray(rows)).to(self.device, non_blocking=True)
        sequences = at[..., None] * self.choices + torch.arange(self.choices, device=self.device)
        sequences = sequences.flatten(-2)
        position = torch.arange(longest, device=self.device)
        mask = position < self.lengths[sequences][..., None]
        source = (self.starts[sequences][..., None] + position).clamp(max=len(self.tokens) - 1)
        inputs = {
            "input_ids": torch.where(mask, self.tokens[source], self.pad_id),
            "token_type_ids": torch.where(mask, self.types[source], 0),
            "attention_mask": mask.long(),
        }
        return inputs, self.labels[at]
