"""Batches on the device: tokens are moved there once, each batch is cut out by index."""

from typing import Any

import numpy as np
import torch

from lib.batches import Encoded


class Loader:
    """Padded batches of tokenised examples; nothing in a batch waits for the device.

    ``batch(rows)`` takes rows (B,), or (S, B) for S seeds at once, and gives model inputs
    (…, B, T), T the longest example of the batch, and labels (…, B).
    """

    def __init__(self, data: Encoded, device: torch.device) -> None:
        self.device = device
        self.lengths_here = data.lengths
        self.pad_id = int(data.pad_id)
        self.tokens, self.types = (
            torch.from_numpy(array.astype(np.int64)).to(device)
            for array in (data.tokens, data.types)
        )
        self.starts = torch.from_numpy(data.starts[:-1].astype(np.int64)).to(device)
        self.lengths = torch.from_numpy(data.lengths.astype(np.int64)).to(device)
        self.labels = torch.from_numpy(data.labels).to(device)

    def batch(self, rows: np.ndarray) -> tuple[dict[str, Any], torch.Tensor]:
        longest = int(self.lengths_here[rows].max())
        at = torch.from_numpy(rows).to(self.device, non_blocking=True)
        place = torch.arange(longest, device=self.device)
        mask = place < self.lengths[at][..., None]
        source = (self.starts[at][..., None] + place).clamp(max=len(self.tokens) - 1)
        inputs = {
            "input_ids": torch.where(mask, self.tokens[source], self.pad_id),
            "token_type_ids": torch.where(mask, self.types[source], 0),
            "attention_mask": mask.long(),
        }
        return inputs, self.labels[at]
