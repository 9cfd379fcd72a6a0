"""Runs that generate texts, trained for real on invented boats, from the run to its tables."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import boats
from lib import measures
from lib.config import Setting
from lib.config.seeds import Seeds
from lib.data import examples
from lib.models import backbones, generators
from lib.results import group_tables, runs, tables
from lib.results.run_group import RunGroup
from lib.training import generation, loop
from lib.training.evaluation import Evaluation
from lib.training.experiment import build, finetune
from lib.training.inputs import prepare_inputs
from lib.training.loop import losses

BOATS = Setting(
    task="boats", train_rows=300, eval_rows=30, epochs=2, learning_rate=1e-3, max_length=48
)  # fmt: skip
SEEDS = [Seeds.of(0), Seeds.of(1), Seeds.parse("seed1-init0")]


@pytest.fixture(scope="module")
def inputs():
    return prepare_inputs(BOATS)


@pytest.fixture(scope="module")
def trained(inputs):
    return [finetune(inputs, seeds, device="cpu") for seeds in SEEDS]


@pytest.fixture(scope="module")
def tokenizer(inputs):
    return backbones.load_tokenizer(inputs.located)


def test_the_committed_boats_are_those_of_the_script():
    pd.testing.assert_frame_equal(pd.read_csv(boats.TABLE, keep_default_na=False), boats.table())
    table = boats.table()
    assert set(table[table["split"] == "dev"]["input"]).isdisjoint(
        table[table["split"] == "train"]["input"]
    )
    assert (table.groupby("input")["target"].nunique() == boats.N_REFERENCES).all()


def test_every_slot_is_in_every_sentence():
    table = boats.table()
    realised = generation.realised(table["input"].str.lower(), table["target"].str.replace(
        r"([,.])", r" \1 ", regex=True
    ))  # fmt: skip
    assert (realised.sum(1) == table["input"].str.count(":")).all()


def test_slots_are_found_as_whole_values():
    given = ["name : old tom, kind : barge", "name : tern"]
    texts = ["old tom is a bargee", "the tern"]
    assert generation.realised(given, texts).tolist() == [[True, False], [True, False]]


def test_the_loss_of_texts_is_the_mean_over_tokens_that_are_there():
    logits = torch.randn(2, 3, 4, 7)
    labels = torch.randint(7, (2, 3, 4))
    labels[0, 1, 2:] = labels[1, 2, 1:] = -100
    for s in range(2):
        there = labels[s] >= 0
        expected = torch.nn.functional.cross_entropy(logits[s][there], labels[s][there])
        torch.testing.assert_close(losses(logits, labels)[s], expected)


def test_references_are_those_of_the_table(inputs, tokenizer):
    data = inputs.data.evaluation
    table = boats.table()
    known = table[table["split"] == "dev"].groupby("input", sort=False)["target"].agg(list)
    read = dict(zip(known.index.str.lower().str.replace(":", " :"), known, strict=True))
    pairs = zip(
        generation.inputs_of(data, tokenizer),
        generation.references_of(data, tokenizer),
        strict=True,
    )
    for given, own in pairs:
        assert own == [text.lower() for text in read[given]]
    assert len(data) == BOATS.eval_rows


def test_the_baseline_is_the_best_mixture_of_copies_and_usual_tokens(inputs):
    small = dataclasses.replace(
        inputs.data, train=inputs.data.train.take(range(6)),
        evaluation=inputs.data.evaluation.take(range(3)),
    )  # fmt: skip
    few = dataclasses.replace(inputs, data=small)
    known = list(generation.vocabulary(few))
    counts = np.ones(len(known))
    for token in small.train.targets:
        counts[known.index(token)] += 1

    def mean(data, share):
        each = []
        for i in range(len(data)):
            j = data.references[i]
            given = list(data.tokens[data.starts[i] : data.starts[i + 1]])
            target = data.targets[data.target_starts[j] : data.target_starts[j + 1]]
            own = [share * given.count(t) / len(given)
                   + (1 - share) * counts[known.index(t)] / counts.sum()
                   for t in target]  # fmt: skip
            each.append(np.log(own).mean())
        return np.mean(each)

    best = max(np.linspace(0, 0.95, 20), key=lambda share: mean(small.train, share))
    assert generation.baseline_likelihood(few) == pytest.approx(mean(small.evaluation, best))


def test_a_run_says_what_it_generated_and_predicted(inputs, trained, tokenizer):
    data = inputs.data.evaluation
    for run in trained:
        generated, record = run.generated, run.record
        assert generated["texts"].shape == generated["scores"].shape == (6, 30)
        assert run.logits.shape == (30, 1) and (run.logits < 0).all()
        first = data.references[:-1]
        assert (generated["lengths"] == np.diff(data.target_starts)[first]).all()
        assert generated["probabilities"].sum(-1) == pytest.approx(1, abs=2e-3)
        assert (
            len(generated["tokens"])
            == len(generated["probabilities"])
            == generated["lengths"].sum()
        )
        references = generation.references_of(data, tokenizer)
        scores = measures.text_scores(generated["texts"].tolist(), references)
        assert generated["scores"] == pytest.approx(scores)
        assert record["score"] == pytest.approx(scores[0].mean())
        assert record["other_scores"]["likelihood"] == pytest.approx(run.logits.mean())
        assert record["baseline"] < run.logits.mean()
        gain = run.logits[:, 0] - generated["elsewhere"]
        assert record["other_scores"]["gain"] == pytest.approx(gain.mean(), abs=1e-6)
        layers = len(run.vectors["mean"])
        assert {v.shape for v in run.vectors.values()} == {(layers, 30, 128)}
    # The likelihood of a reference is that of its tokens, of those that are in the vocabulary.
    known, run = generation.vocabulary(inputs), trained[0]
    ends = np.cumsum([0, *run.generated["lengths"]])
    for i, (a, b) in enumerate(itertools.pairwise(ends)):
        j = data.references[i]
        target = data.targets[data.target_starts[j] : data.target_starts[j + 1]]
        own = run.generated["probabilities"][a:b][np.arange(b - a), np.searchsorted(known, target)]
        assert np.log(own.astype(float)).mean() == pytest.approx(run.logits[i, 0], abs=0.02)


def test_a_run_is_the_same_again_and_the_init_seed_changes_it(inputs, trained):
    again = finetune(inputs, SEEDS[0], device="cpu")
    for name in runs.GENERATED:
        assert (again.generated[name] == trained[0].generated[name]).all(), name
    assert (again.logits == trained[0].logits).all()
    assert (trained[1].generated["texts"] != trained[2].generated["texts"]).any()


def test_sampled_texts_have_decoding_seeds_of_their_own(trained):
    for one, two in itertools.combinations(trained[0].generated["texts"], 2):
        assert (one != two).any()
    numbers = [generation.decoding_numbers(seed, (4, 5)) for seed in (0, 1, 0)]
    assert (numbers[0] != numbers[1]).all() and (numbers[0] == numbers[2]).all()


def test_several_seeds_are_no_one_program(inputs):
    with pytest.raises(ValueError, match="2 seeds as one program are for classifiers"):
        finetune(inputs, SEEDS[:2], device="cpu")


def test_what_a_run_predicts_beside_another_input(inputs):
    """Of two examples with the same input the one is the other's input, and nothing is gained."""
    one = inputs.data.evaluation.take([4])
    pair = dataclasses.replace(inputs.data, evaluation=inputs.data.evaluation.take([4, 4]))
    model = build(inputs, [SEEDS[0]], torch.device("cpu")).models[0]
    found = generation.evaluate(dataclasses.replace(inputs, data=pair), model, torch.device("cpu"))
    assert found.generated["elsewhere"] == pytest.approx(found.logits[:, 0])
    both = inputs.data.evaluation.take([4, 9])
    pair = dataclasses.replace(inputs.data, evaluation=both)
    found = generation.evaluate(dataclasses.replace(inputs, data=pair), model, torch.device("cpu"))
    tokens, targets = (examples.Loader(part, torch.device("cpu"), typed=False)
                       for part in (inputs.data.evaluation.take([9]), one))  # fmt: skip
    target = targets.target_tokens(np.array([0]))
    with torch.no_grad():
        given = tokens.batch(np.array([0]))[0]
        logits, _ = generators.teacher_forced(model.eval(), given, target)
    expected = -torch.nn.functional.cross_entropy(logits[0], target[0])
    assert found.generated["elsewhere"][0] == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "gain", "n_texts", "status"),
    [
        (-1.0, 0.5, 30, "ok"),
        (-9.0, 0.5, 30, "failed"),
        (-1.0, 0.009, 30, "failed"),
        (-1.0, 0.011, 30, "ok"),
        (-1.0, -0.5, 30, "failed"),
        (-1.0, 0.5, 2, "ok"),
        (-1.0, 0.5, 1, "collapsed"),
        (-9.0, 0.0, 1, "collapsed"),
    ],
)
def test_a_run_has_failed_if_it_knows_no_more_than_the_baseline_or_ignores_its_inputs(
    inputs, trained, likelihood, gain, n_texts, status
):
    generated = dict(trained[0].generated)
    generated["texts"] = np.tile([f"boat {row % n_texts}" for row in range(30)], (6, 1))
    generated["elsewhere"] = np.full(30, likelihood - gain)
    made = Evaluation(np.full((30, 1), likelihood), {}, generated)
    assert generation.score(inputs, made, diverged=False)["status"] == status


def test_a_run_that_learns_nothing_has_failed(inputs):
    hopeless = dataclasses.replace(inputs, setting=dataclasses.replace(BOATS, learning_rate=0.3))
    run = finetune(hopeless, Seeds.of(0), device="cpu")
    assert run.record["status"] in ("failed", "collapsed")
    assert run.record["other_scores"]["likelihood"] <= run.record["baseline"]


@pytest.fixture(scope="module")
def diverged(inputs):
    """A run whose loss is infinite from the first step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "losses", lambda logits, labels: losses(logits, labels) * torch.inf)
        return finetune(inputs, SEEDS[0], device="cpu")


def test_a_diverged_run_is_recorded_without_texts(diverged):
    assert diverged.record["status"] == "diverged" and diverged.record["score"] is None
    assert np.isnan(diverged.logits).all() and (diverged.generated["texts"] == "").all()


def test_weights_that_are_not_finite_generate_nothing(inputs):
    model = build(inputs, [SEEDS[0]], torch.device("cpu")).models[0]
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    found = generation.evaluate(inputs, model, torch.device("cpu"))
    assert (found.generated["texts"] == "").all() and np.isnan(found.logits).all()
    assert generation.score(inputs, found, diverged=False)["status"] == "diverged"


def test_a_diverged_run_is_in_no_distance_and_no_measure(diverged, trained):
    frames = group_tables.tables_of([diverged, *trained[1:]])
    distances = frames["distances"].query("pooling in ('greedy', 'sampled', 'teacher-forced')")
    with_it = distances["run_a"] == 0
    assert distances[with_it]["distance"].isna().all()
    pairs = frames[tables.TEXT_PAIRS]
    assert pairs[pairs["run_a"] == 0].iloc[:, 2:].isna().all(axis=None)
    assert pairs[pairs["run_a"] > 0].notna().all(axis=None)
    assert distances[~with_it]["distance"].notna().all() and (~with_it).sum() == 9
    whole = group_tables.tables_of(trained[1:])["distances"]
    kept = whole[whole["pooling"].isin(distances["pooling"].unique())]
    assert list(distances[~with_it]["distance"]) == list(kept["distance"])
    table = frames["measures"].query("measure == 'different' and subset == 'all'")
    assert (table["n_runs"] == 2).all() and table["value"].notna().all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "mhloss"}, "mhloss is for classifiers"),
        ({"seeds_per_batch": 2}, "seeds_per_batch = 2 is for classifiers"),
        ({"evals_per_epoch": 1, "eval_split": "test-half"}, "evals_per_epoch = 1 is for class"),
    ],
)
def test_what_only_classifiers_can_do_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        prepare_inputs(dataclasses.replace(BOATS, **changed))


def test_a_group_is_saved_loaded_and_measured(trained, tmp_path):
    for run in trained:
        runs.save(run, tmp_path / run.record["seed_label"])
    loaded = [runs.load(tmp_path / run.record["seed_label"]) for run in trained]
    for run, back in zip(trained, loaded, strict=True):
        assert set(back.generated) == set(run.generated)
        assert all((back.generated[name] == run.generated[name]).all() for name in run.generated)
    frames = group_tables.tables_of(loaded)
    texts = frames[tables.TEXTS]
    assert len(texts) == 3 * 6 * 30 and texts["text"].nunique() == texts["hash"].nunique()
    distances = frames["distances"].set_index(["measure", "pooling"])["distance"]
    greedy = [run.generated["texts"][0].tolist() for run in trained]
    upper = np.triu_indices(3, 1)
    for name in ("different", "edit_distance", "rouge_distance", "bleu_distance"):
        expected = getattr(measures, f"pairwise_{name}")(greedy)[upper]
        assert list(distances[name, "greedy"]) == pytest.approx(expected, abs=1e-6)
    sampled = [run.generated["texts"][1:].tolist() for run in trained]
    crossed = [
        np.mean([measures.pairwise_edit_distance([sampled[a][k], sampled[b][m]])[0, 1]
                 for k, m in itertools.permutations(range(5), 2)])
        for a, b in zip(*upper, strict=True)
    ]  # fmt: skip
    assert list(distances["edit_distance", "sampled"]) == pytest.approx(crossed, abs=1e-6)
    pairs = frames[tables.TEXT_PAIRS]
    means = pairs.groupby(["run_a", "run_b"], sort=False).mean()
    assert len(pairs) == 3 * 30 and list(means.index) == list(zip(*upper, strict=True))
    assert list(means["sampled_edit_distance"]) == pytest.approx(crossed, abs=1e-3)
    for name, way in (
        ("edit_distance", "greedy"),
        ("rouge_distance", "greedy"),
        ("token_disagreement", "teacher-forced"),
        ("token_jsd", "teacher-forced"),
    ):
        assert list(means[name]) == pytest.approx(list(distances[name, way]), abs=1e-3)
    one = measures.pairwise_edit_distance([[greedy[0][4]], [greedy[2][4]]])[0, 1]
    row = pairs[(pairs["run_a"] == 0) & (pairs["run_b"] == 2)].iloc[4]
    assert row["edit_distance"] == pytest.approx(one, abs=1e-3)
    within = [measures.pairwise_edit_distance(own)[np.triu_indices(5, 1)].mean() for own in sampled]
    by_run = texts.groupby("seed_label", sort=False)["edit_distance"].mean()
    assert list(by_run) == pytest.approx(within, abs=1e-6)
    assert texts.loc[texts["decoding"] == 0, "edit_distance"].isna().all()
    table = frames["measures"].query("subset == 'all'")
    assert {"different", "slot_distance", "token_jsd", "cka"} <= set(table["measure"])
    value = table.set_index(["measure", "pooling"]).loc[("different", "greedy"), "value"]
    assert value == pytest.approx(np.mean(distances["different", "greedy"]), abs=1e-6)


def test_chance_is_how_far_apart_texts_for_unrelated_inputs_are(trained):
    """Runs that write alike, a text of its own for every input: permuted, as good as all differ."""
    texts = np.array([f"{word} sails" for word in "abcdefghijklmnopqrstuvwxyzäöüé"])
    alike = [
        dataclasses.replace(run, generated=run.generated | {"texts": np.tile(texts, (6, 1))})
        for run in trained
    ]
    chance = group_tables.text_chance(alike)
    assert {drawn.shape for drawn in chance.values()} == {(1, group_tables.PERMUTATIONS)}
    assert 0.8 < chance["different", "greedy"].mean() <= 1
    ratio = chance["edit_distance", "greedy"] / chance["different", "greedy"]
    assert ratio == pytest.approx(1 / 7)
    frames = group_tables.tables_of(alike)["measures"].query("pooling == 'greedy'")
    by_subset = frames.set_index(["subset", "measure"])["value"]
    assert by_subset["all", "different"] == 0
    assert by_subset["chance", "different"] == pytest.approx(chance["different", "greedy"].mean())


def test_texts_of_data_sets_stay_out_of_tables(trained):
    renamed = [
        dataclasses.replace(
            run, record=run.record | {"setting": run.record["setting"] | {"task": "e2e"}}
        )
        for run in trained
    ]
    assert "text" not in group_tables.tables_of(renamed)[tables.TEXTS]
    assert RunGroup.of_runs(renamed).logits.shape == (3, 30, 1)
