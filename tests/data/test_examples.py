"""Batches of examples, by hand: padding, taking some, an epoch, several sequences an example."""

import math

import numpy as np
import torch

from lib.data.examples import Encoded, Loader, epoch_batches


def ragged(lengths, choices=1):
    """Sequences of these lengths, ``choices`` an example; token values count up from 1."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.arange(1, starts[-1] + 1, dtype=np.int32)
    types = (tokens % 2).astype(np.int8)
    labels = np.arange(len(lengths) // choices)
    ids = np.array([f"e{i}" for i in labels])
    return Encoded(tokens, types, starts, labels, ids, np.array(7), choices)


def test_padding_by_hand():
    loader = Loader(ragged([2, 3, 1]), torch.device("cpu"))
    inputs, labels = loader.batch(np.array([0, 2]))
    assert inputs["input_ids"].tolist() == [[1, 2], [6, 7]]
    assert inputs["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert inputs["token_type_ids"].tolist() == [[1, 0], [0, 0]]
    assert labels.tolist() == [0, 2]
    many, labels = loader.batch(np.array([[0, 2], [1, 1]]))
    assert many["input_ids"].shape == (2, 2, 3) and labels.tolist() == [[0, 2], [1, 1]]
    assert many["input_ids"][0, :, :2].equal(inputs["input_ids"])
    assert many["attention_mask"][0].tolist() == [[1, 1, 0], [1, 0, 0]]


def test_taking_examples_is_like_indexing_a_list_and_takes_all_their_candidates():
    taken = ragged([2, 3, 1, 4]).take(np.array([3, 0]))
    assert taken.tokens.tolist() == [7, 8, 9, 10, 1, 2]
    assert taken.example_ids.tolist() == ["e3", "e0"] and taken.lengths.tolist() == [4, 2]
    taken = ragged([2, 1, 3, 3, 1, 2], choices=2).take(np.array([2, 0]))
    assert taken.tokens.tolist() == [10, 11, 12, 1, 2, 3]
    assert taken.starts.tolist() == [0, 1, 3, 5, 6] and taken.choices == 2
    assert taken.example_ids.tolist() == ["e2", "e0"] and len(taken.groups) == 0


def test_an_epoch_holds_every_row_once_and_pads_little():
    lengths = np.random.default_rng(0).integers(5, 60, 500)
    order = epoch_batches(lengths, 16, np.random.default_rng(1))
    assert sorted(np.concatenate(order).tolist()) == list(range(500))
    assert len(order) == math.ceil(500 / 16)
    assert [len(rows) for rows in order] == [16] * 31 + [4], "only the last may be smaller"
    padded = sum(lengths[rows].max() * len(rows) for rows in order)
    plain = np.random.default_rng(1).permutation(500)
    shuffled = [plain[i : i + 16] for i in range(0, 500, 16)]
    assert padded < 1.15 * lengths.sum()
    assert padded < 0.7 * sum(lengths[rows].max() * len(rows) for rows in shuffled)
