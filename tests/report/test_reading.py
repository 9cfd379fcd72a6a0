"""Runs made elsewhere: every format gives the same runs, every mistake its own message."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.report.reading import OutsideError, read

NAMES = ["seed1", "seed2", "seed10"]
N = 12
IDS = [f"ex{i}" for i in range(N)]
WORDS = np.array(["neutral", "entailment", "contradiction"])  # sorted: 2, 1, 0
draw = np.random.default_rng(0)
LOGITS = draw.normal(size=(3, N, 3))
GOLD = np.arange(N) % 3
CODES = LOGITS.argmax(-1)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
SCORES = draw.normal(size=(3, N)).round(3)
STATES = draw.normal(size=(3, 2, N, 4))


def long_table(columns=None, labels=GOLD):
    """Rows of seed10 first, so that the order of runs has to be found."""
    rows = []
    for s in (2, 0, 1):
        for i in range(N):
            row = {"run": NAMES[s], "example": IDS[i], "label": labels[i]}
            values = {"prediction": CODES} if columns is None else columns
            rows.append(row | {name: array[s, i] for name, array in values.items()})
    return pd.DataFrame(rows)


def wide_table(values=CODES, labels=GOLD):
    runs = {NAMES[s]: values[s] for s in (2, 0, 1)}
    return pd.DataFrame({"example": IDS, "label": labels} | runs)


def scores(prefix, array):
    return {f"{prefix}_{c}": array[..., c] for c in range(3)}


def save(table, path):
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    return path


def trainer_folder(path, values=LOGITS, names=NAMES, **arrays):
    """As two lines after training write it; arrays have a row a run."""
    arrays = {"label_ids": [GOLD] * 3} | arrays
    for s, name in enumerate(names):
        (path / name).mkdir(parents=True)
        more = {key: array[s] for key, array in arrays.items() if array is not None}
        np.savez(path / name / "predictions.npz", predictions=values[s], **more)
    return path


def text_folder(path, values, file="predict_results_rte.txt"):
    """Exactly what run_glue.py and run_classification.py write."""
    for name, said in zip(NAMES, values, strict=True):
        (path / name).mkdir(parents=True)
        with open(path / name / file, "w") as writer:
            writer.write("index\tprediction\n")
            for index, item in enumerate(said):
                if isinstance(item, float):
                    writer.write(f"{index}\t{item:3.3f}\n")
                else:
                    writer.write(f"{index}\t{item}\n")
    return path


def archive(path, **arrays):
    np.savez(path / "runs.npz", **arrays)
    return path / "runs.npz"


FORMATS = {
    "long csv": lambda p: save(long_table(), p / "runs.csv"),
    "long parquet": lambda p: save(long_table(), p / "runs.parquet"),
    "long logits csv": lambda p: save(long_table(scores("logit", LOGITS)), p / "runs.csv"),
    "long probabilities": lambda p: save(long_table(scores("prob", PROBABILITIES)), p / "runs.csv"),
    "long indexed parquet": lambda p: save(
        long_table().set_index(["run", "example"]), p / "runs.parquet"
    ),
    "wide csv": lambda p: save(wide_table(), p / "runs.csv"),
    "npz logits": lambda p: archive(
        p, logits=LOGITS, labels=GOLD, runs=NAMES, examples=IDS, representations=STATES
    ),
    "npz probabilities": lambda p: archive(
        p, probabilities=PROBABILITIES, labels=GOLD, runs=NAMES, examples=IDS
    ),
    "npz out of order": lambda p: archive(
        p, predictions=CODES[[2, 0, 1]], labels=GOLD, runs=["seed10", "seed1", "seed2"],
        examples=IDS,
    ),
    "trainer": lambda p: trainer_folder(p, examples=[IDS] * 3, hidden_states=STATES),
    "trainer decisions": lambda p: trainer_folder(p, CODES, examples=[IDS] * 3),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_runs(name, tmp_path):
    runs = read(FORMATS[name](tmp_path))
    assert (runs.names, runs.example_ids, runs.classes) == (NAMES, IDS, ["0", "1", "2"])
    assert np.array_equal(runs.predictions, CODES) and np.array_equal(runs.labels, GOLD)
    assert runs.predictions.dtype.kind == runs.labels.dtype.kind == "i"
    if "logits" in name or name == "trainer":
        assert np.array_equal(runs.logits, LOGITS)
        assert any("softmax" in note for note in runs.notes)
    else:
        assert runs.logits is None
    if runs.logits is not None or "probabilities" in name:
        np.testing.assert_allclose(runs.probabilities, PROBABILITIES, atol=1e-15)
        np.testing.assert_allclose(runs.probabilities.sum(-1), 1, atol=1e-15)
    else:
        assert runs.probabilities is None
    if name in ("npz logits", "trainer"):
        assert np.array_equal(np.stack(runs.representations["given"]), STATES)
    assert runs.source.startswith("3 runs on 12 examples")


@pytest.mark.parametrize("file", ["predict_results_rte.txt", "predict_results.txt"])
@pytest.mark.parametrize("named", [True, False])
def test_results_of_the_example_scripts(file, named, tmp_path):
    path = text_folder(tmp_path / "out", WORDS[CODES] if named else CODES, file)
    np.save(tmp_path / "gold.npy", WORDS[GOLD] if named else GOLD)
    runs = read(path, labels=tmp_path / "gold.npy")
    assert runs.names == NAMES and runs.example_ids == [str(i) for i in range(N)]
    assert runs.classes == (sorted(WORDS) if named else ["0", "1", "2"])
    assert np.array_equal(runs.predictions, 2 - CODES if named else CODES)
    assert np.array_equal(runs.labels, 2 - GOLD if named else GOLD)
    assert any("No gold labels" in note for note in read(path).notes)


def test_classes_by_name(tmp_path):
    wide = save(wide_table(WORDS[CODES], WORDS[GOLD]), tmp_path / "wide.csv")
    long = save(long_table({"prediction": WORDS[CODES]}, WORDS[GOLD]), tmp_path / "long.parquet")
    arrays = archive(tmp_path, predictions=WORDS[CODES], labels=WORDS[GOLD], runs=NAMES)
    for path in (wide, long, arrays):
        runs = read(path)
        assert runs.classes == ["contradiction", "entailment", "neutral"]
        assert np.array_equal(runs.predictions, 2 - CODES)
        assert np.array_equal(runs.labels, 2 - GOLD)


def test_names_that_look_missing_or_numeric_are_kept(tmp_path):
    (tmp_path / "runs.csv").write_text(
        "example,label,a,b\n007,NA,NA,None\n08,None,NA,None\n8,None,null,NA\n"
    )
    runs = read(tmp_path / "runs.csv")
    assert runs.example_ids == ["007", "08", "8"] and runs.classes == ["NA", "None", "null"]
    assert runs.labels.tolist() == [0, 1, 1]


def test_class_numbers_with_gaps_keep_their_names_and_numeric_order(tmp_path):
    (tmp_path / "runs.csv").write_text("label,a,b\n-1,-1,2\n10,2,10\n")
    runs = read(tmp_path / "runs.csv")
    assert runs.classes == ["-1", "2", "10"] and runs.predictions.tolist() == [[0, 1], [1, 2]]
    assert runs.example_ids == ["1", "2"]
    assert any(note == "Predicted, but never a gold label: 2." for note in runs.notes)


@pytest.mark.parametrize(
    "build",
    [
        lambda p: save(wide_table(SCORES, SCORES[0]), p / "runs.csv"),
        lambda p: save(long_table({"prediction": SCORES}, SCORES[0]), p / "runs.csv"),
        lambda p: archive(p, predictions=SCORES, labels=SCORES[0], runs=NAMES),
        lambda p: trainer_folder(p, SCORES[..., None], label_ids=[SCORES[0]] * 3),
    ],
)
def test_regression(build, tmp_path):
    runs = read(build(tmp_path))
    assert runs.names == NAMES and runs.classes == [] and runs.probabilities is None
    assert np.array_equal(runs.predictions, SCORES) and np.array_equal(runs.labels, SCORES[0])
    assert runs.predictions.dtype == np.float64 and "regression" in runs.source


def test_regression_from_the_example_scripts(tmp_path):
    """Three decimals are scores, even where all are whole."""
    assert np.array_equal(read(text_folder(tmp_path / "a", SCORES)).predictions, SCORES)
    runs = read(text_folder(tmp_path / "b", np.full((3, 4), 2.0)))
    assert runs.classes == [] and (runs.predictions == 2).all()


def test_scores_beside_binary_labels_are_noted(tmp_path):
    path = save(wide_table(PROBABILITIES[..., 1], GOLD % 2), tmp_path / "runs.csv")
    assert any("prob_0 and prob_1" in note for note in read(path).notes)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from([None, "logit", "prob"]))
def test_the_order_of_rows_of_a_long_table_changes_nothing(seed, kind, tmp_path_factory):
    values = {"logit": LOGITS, "prob": PROBABILITIES}.get(kind)
    table = long_table(None if kind is None else scores(kind, values))
    path = tmp_path_factory.mktemp("shuffled") / "runs.csv"
    shuffled = table.sample(frac=1, random_state=seed)
    runs = read(save(shuffled, path))
    assert runs.names == NAMES
    assert runs.example_ids == list(dict.fromkeys(shuffled["example"]))
    order = [runs.example_ids.index(name) for name in IDS]
    assert np.array_equal(runs.predictions[:, order], CODES)
    assert np.array_equal(runs.labels[order], GOLD)
    if kind:
        np.testing.assert_allclose(runs.probabilities[:, order], PROBABILITIES, atol=1e-15)


def test_folders_in_another_order_are_aligned_by_id(tmp_path):
    shuffles = [np.arange(N), draw.permutation(N), draw.permutation(N)]
    path = trainer_folder(
        tmp_path,
        [LOGITS[s][order] for s, order in enumerate(shuffles)],
        label_ids=[GOLD[order] for order in shuffles],
        examples=[np.array(IDS)[order] for order in shuffles],
        hidden_states=[STATES[s][:, order] for s, order in enumerate(shuffles)],
    )
    runs = read(path)
    assert np.array_equal(runs.logits, LOGITS) and np.array_equal(runs.labels, GOLD)
    assert np.array_equal(np.stack(runs.representations["given"]), STATES)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_from_a_file_by_id_and_by_order(suffix, tmp_path):
    path = save(wide_table().drop(columns="label"), tmp_path / "runs.csv")
    by_id = pd.DataFrame({"example": [*IDS[::-1], "more"], "label": [*GOLD[::-1], 0]})
    by_order = pd.DataFrame({"label": GOLD})
    for table in (by_id, by_order):
        runs = read(path, labels=save(table, tmp_path / f"gold{suffix}"))
        assert np.array_equal(runs.labels, GOLD)


def test_an_empty_label_column_is_no_labels(tmp_path):
    for table in (wide_table(labels=[""] * N), long_table(labels=[None] * N)):
        assert read(save(table, tmp_path / "runs.csv")).labels is None


def test_runs_can_be_left_out(tmp_path):
    logits = LOGITS.copy()
    logits[1, 3] = np.nan
    path = trainer_folder(tmp_path, logits)
    (path / "logs").mkdir()
    runs = read(path, exclude=["seed2"])
    assert runs.names == ["seed1", "seed10"] and np.array_equal(runs.logits, LOGITS[[0, 2]])
    assert runs.left_out == ["seed2"]
    assert "Left out as asked: seed2." in runs.notes
    assert "Folders without predictions, passed over: logs." in runs.notes


def test_scores_go_before_decisions(tmp_path):
    table = long_table(scores("logit", LOGITS) | {"prediction": 1 - CODES // 2})
    runs = read(save(table, tmp_path / "runs.csv"))
    assert np.array_equal(runs.predictions, CODES)
    assert "The logits are read, and not prediction." in runs.notes


def test_nearly_normalised_probabilities_are_normalised(tmp_path):
    runs = read(archive(tmp_path, probabilities=PROBABILITIES.astype(np.float16)))
    assert np.abs(runs.probabilities.sum(-1) - 1).max() < 1e-12
    assert runs.names == ["run1", "run2", "run3"]


def changed(array, place, value):
    array = np.array(array, object if isinstance(value, str) else float)
    array[place] = value
    return array


def text(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cut(path):
    """The file without its second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def long_csv(p, table):
    return save(table, p / "runs.csv")


def beside(path, name, action):
    """A folder of runs after something was done to one of them."""
    action(path / name)
    return path


def add_text(folder, name="predict_results_rte.txt"):
    (folder / name).write_text("index\tprediction\n0\t1\n1\t0\n")


def to_text(folder):
    (folder / "predictions.npz").unlink()
    add_text(folder)


def raw_labels(p, array):
    np.save(p / "gold.npy", array)
    return p / "gold.npy"


BAD_PATHS = {
    "misspelt path": (
        lambda p: save(wide_table(), p / "runs.csv").with_name("run.csv"),
        ["run.csv: no such file", "did you mean runs.csv?"],
    ),
    "suffix": (lambda p: text(p / "runs.json", "{}"), ["runs.json", "'.json'", ".parquet"]),
    "empty folder": (lambda p: p, ["none of its 0 folders holds a run", "one folder a run"]),
    "too deep": (
        lambda p: trainer_folder(p / "lr1").parent,
        ["only one level is read", "give", "lr1"],
    ),
    "too shallow": (
        lambda p: trainer_folder(p) / "seed1",
        ["only one level is read", "seed1/predictions.npz, give"],
    ),
    "one run": (
        lambda p: trainer_folder(p, LOGITS[:1], ["seed1"]),
        ["1 run (seed1)", "two or more"],
    ),
    "one example": (lambda p: text(p / "runs.csv", "a,b\n1,0\n"), ["1 example;", "two or more"]),
}

BAD_TABLES = {
    "empty csv": (lambda p: text(p / "runs.csv", ""), ["runs.csv", "EmptyDataError", "header"]),
    "prose": (
        lambda p: text(p / "runs.csv", "Results\nall fine, mostly\n"),
        ["cannot be read as a table", "line 2", "same number of columns"],
    ),
    "semicolons": (lambda p: text(p / "runs.csv", "a;b\n1;0\n"), ["'a;b'", "put commas"]),
    "damaged parquet": (
        lambda p: cut(save(wide_table(), p / "runs.parquet")),
        ["runs.parquet", "cannot be read as a table"],
    ),
    "missing run column": (
        lambda p: long_csv(p, long_table().rename(columns={"run": "runs"})),
        ["no column 'run' among runs, example, label, prediction", "did you mean runs?"],
    ),
    "missing prediction column": (
        lambda p: long_csv(p, long_table().rename(columns={"prediction": "predicted"})),
        ["no column 'prediction'", "did you mean predicted?"],
    ),
    "run without name": (
        lambda p: long_csv(p, long_table().replace({"run": {"seed10": ""}})),
        ["row 1 names no run"],
    ),
    "example without id": (
        lambda p: long_csv(p, long_table().replace({"example": {"ex3": ""}})),
        ["run 'seed1': row 16 has no example id"],
    ),
    "lacking examples": (
        lambda p: long_csv(p, long_table().drop(index=[4, 7])),
        ["run 'seed10' lacks 2 of 12 examples, first: ex4", "exclude"],
    ),
    "repeated row": (
        lambda p: long_csv(p, pd.concat([long_table(), long_table().iloc[[14]]])),
        ["run 'seed1'", "example 'ex2' is in rows 15, 37", "one row a run and example"],
    ),
    "unnamed index": (
        lambda p: (wide_table().to_csv(p / "runs.csv"), p / "runs.csv")[1],
        ["column ''", "index=False"],
    ),
    "texts as a run": (
        lambda p: long_csv(p, pd.DataFrame({"a": [0, 1] * 30, "b": 1, "c": range(60)})),
        ["column 'c' is not like"],
    ),
    "scores beside classes": (
        lambda p: long_csv(p, wide_table().assign(loss=SCORES[0])),
        ["run 'loss' has numbers with fractions, run 'seed1' has classes", "exclude"],
    ),
    "no prediction": (
        lambda p: long_csv(p, wide_table(changed(WORDS[CODES], (1, 3), ""), WORDS[GOLD])),
        ["run 'seed2', example 'ex3'", "is missing: fill it in"],
    ),
    "infinite prediction": (
        lambda p: long_csv(p, wide_table(changed(SCORES, (0, 1), np.inf))),
        ["run 'seed1', example 'ex1'", "inf", "not finite"],
    ),
    "no probabilities": (
        lambda p: long_csv(p, long_table(scores("prob", LOGITS))),
        ["run 'seed1', example 'ex0'", "sum 1", "if they are logits"],
    ),
    "labels of runs differ": (
        lambda p: long_csv(p, long_table().assign(label=[*GOLD, *GOLD, *(GOLD + 1) % 3])),
        ["run 'seed2'", "label of example 'ex0' is '1', in run 'seed1' '0'"],
    ),
    "label missing": (
        lambda p: long_csv(p, wide_table(labels=["", *GOLD[1:]])),
        ["example 'ex0': label '' is missing"],
    ),
    "label ignored": (
        lambda p: long_csv(p, wide_table(labels=[*GOLD[:5], -100, *GOLD[6:]])),
        ["example 'ex5': label '-100' marks a row to be ignored: drop the row"],
    ),
    "label out of range": (
        lambda p: long_csv(p, long_table(scores("logit", LOGITS), labels=GOLD + 1)),
        ["example 'ex2': label '3' is not the number of a column of logits, 0 to 2"],
    ),
    "label names beside scores": (
        lambda p: long_csv(p, wide_table(SCORES, WORDS[GOLD])),
        ["label 'neutral' is no number, but the predictions are scores"],
    ),
    "fractions as labels": (
        lambda p: long_csv(p, wide_table(labels=GOLD + 0.5)),
        ["label '0.5' has a fraction"],
    ),
    "no class in common": (
        lambda p: long_csv(p, wide_table(WORDS[CODES])),
        ["no class in common", "'entailment'", "'0'"],
    ),
}

BAD_ARRAYS = {
    "cut npz": (lambda p: cut(archive(p, logits=LOGITS)), ["runs.npz", "damaged (BadZipFile)"]),
    "pickle as npz": (
        lambda p: text(p / "runs.npz", pickle.dumps({"logits": [1]})),
        ["runs.npz: no archive of np.savez", "pickles are not opened"],
    ),
    "pickled array": (
        lambda p: archive(p, logits=np.array([LOGITS[0], LOGITS[1, :2], None], object)),
        ["array 'logits' holds Python objects", "unpickled", "save numbers or text"],
    ),
    "no known array": (
        lambda p: archive(p, logit=LOGITS),
        ["has arrays logit; save one that is called logits or probabilities"],
    ),
    "labels too short": (
        lambda p: archive(p, logits=LOGITS, labels=GOLD[1:]),
        ["labels has shape (11,), expected (12,)"],
    ),
    "repeated name": (
        lambda p: archive(p, logits=LOGITS, runs=["a", "b", "a"]),
        ["two runs are called 'a'"],
    ),
    "representations of other examples": (
        lambda p: archive(p, logits=LOGITS, representations=STATES[:, :, 1:]),
        ["representations has shape (3, 2, 11, 4), expected (3, L, 12, D)"],
    ),
    "diverged run": (
        lambda p: archive(p, logits=changed(LOGITS, (1, 4), np.nan), runs=NAMES, examples=IDS),
        ["run 'seed2', example 'ex4'", "diverged", "exclude seed2"],
    ),
}

BAD_FOLDERS = {
    "label_ids of None": (
        lambda p: trainer_folder(p, label_ids=[None] * 3),
        ["seed1/predictions.npz: array 'label_ids' holds Python objects (None", "leave it out"],
    ),
    "tokens": (
        lambda p: trainer_folder(p, np.zeros((3, N, 5, 2))),
        ["predictions has shape (12, 5, 2), expected (N, C)"],
    ),
    "other number of classes": (
        lambda p: trainer_folder(p, [LOGITS[0], LOGITS[1][:, :2], LOGITS[2]]),
        ["run 'seed2' has predictions of shape (12, 2)", "run 'seed1' predictions of shape"],
    ),
    "other examples": (
        lambda p: trainer_folder(p, examples=[IDS, IDS, [*IDS[:-1], "ex99"]]),
        ["run 'seed1' lacks 1 of 13 examples, first: ex99"],
    ),
    "other labels": (
        lambda p: trainer_folder(p, label_ids=[GOLD, GOLD, GOLD[::-1]]),
        ["run 'seed10': the label of example '1' is 2, in run 'seed1' 0"],
    ),
    "hidden test labels": (
        lambda p: trainer_folder(p, label_ids=[[-1] * N] * 3),
        ["label -1 is not the number of a column of logits", "leave the labels out"],
    ),
    "label_ids too long": (
        lambda p: trainer_folder(p, label_ids=[GOLD, [*GOLD, 0], GOLD]),
        ["seed2/predictions.npz: label_ids has shape (13,), expected (12,)"],
    ),
    "other layers": (
        lambda p: trainer_folder(p, hidden_states=[STATES[0], STATES[1][:1], STATES[2]]),
        ["run 'seed2' has", "and 1 layers of states, run 'seed1'", "and 2 layers of states"],
    ),
    "two kinds": (
        lambda p: beside(trainer_folder(p), "seed2", to_text),
        ["run 'seed2' has predict_results_rte.txt, run 'seed1' predictions.npz"],
    ),
    "two tasks in a run": (
        lambda p: beside(
            text_folder(p, CODES, "predict_results_mnli.txt"), "seed2",
            lambda f: add_text(f, "predict_results_mnli-mm.txt"),
        ),
        ["run 'seed2' has predict_results_mnli-mm.txt and predict_results_mnli.txt"],
    ),
    "text without its header": (
        lambda p: beside(
            text_folder(p, CODES), "seed2",
            lambda f: (f / "predict_results_rte.txt").write_text("id\tlabel\n0\t1\n"),
        ),
        ["seed2/predict_results_rte.txt: columns id, label; expected index, a tab"],
    ),
    "several labels": (
        lambda p: text_folder(p, [[["joy", "love"]] * 3] * 3),
        ["predict_results_rte.txt: example '0' has several labels, ['joy', 'love']"],
    ),
}  # fmt: skip

BAD = BAD_PATHS | BAD_TABLES | BAD_ARRAYS | BAD_FOLDERS


def message(path, **options):
    with pytest.raises(OutsideError) as caught:
        read(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name, tmp_path):
    build, parts = BAD[name]
    said = message(build(tmp_path))
    assert str(tmp_path) in said
    for part in parts:
        assert part in said, said


BAD_LABELS = {
    "missing file": (lambda p: p / "gold.csv", ["gold.csv: no such file"]),
    "no label column": (
        lambda p: save(pd.DataFrame({"labels": GOLD}), p / "gold.csv"),
        ["gold.csv: no column 'label'", "did you mean labels?"],
    ),
    "too few by order": (
        lambda p: save(pd.DataFrame({"label": GOLD[1:]}), p / "gold.csv"),
        ["gold.csv: column 'label' has shape (11,), expected (12,)"],
    ),
    "too few by id": (
        lambda p: save(pd.DataFrame({"example": IDS[1:], "label": GOLD[1:]}), p / "gold.csv"),
        ["gold.csv lacks 1 of 12 examples, first: ex0", "ids as in"],
    ),
    "pickled npy": (
        lambda p: (np.save(p / "gold.npy", np.array([None]), allow_pickle=True), p / "gold.npy")[1],
        ["gold.npy: no array of np.save"],
    ),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_named(name, tmp_path):
    build, parts = BAD_LABELS[name]
    path = save(wide_table().drop(columns="label"), tmp_path / "runs.csv")
    said = message(path, labels=build(tmp_path))
    for part in parts:
        assert part in said, said


def test_labels_given_twice_must_agree(tmp_path):
    path = save(wide_table(), tmp_path / "runs.csv")
    said = message(path, labels=raw_labels(tmp_path, [*GOLD[:-1], 0]))
    assert "gold.npy: the label of example 'ex11' is 0, in" in said and "runs.csv '2'" in said


def test_an_unknown_run_to_exclude_is_named(tmp_path):
    path = save(wide_table(), tmp_path / "runs.csv")
    said = message(path, exclude=["seed3"])
    assert "no run 'seed3' to exclude: did you mean seed" in said
    assert "1 run (seed10)" in message(path, exclude=["seed1", "seed2"])


def wide(tmp_path, **columns):
    pd.DataFrame(columns).to_csv(tmp_path / "wide.csv", index=False)
    return tmp_path / "wide.csv"


def test_a_column_that_shares_no_class_is_named(tmp_path):
    """A split, a constant, another spelling: none of them is a run."""
    good = {"a": ["x", "y", "x"], "b": ["x", "x", "y"], "label": ["x", "y", "y"]}
    for odd in (["dev"] * 3, [1, 1, 1], ["X", "Y", "X"]):
        with pytest.raises(OutsideError, match="run c predicts .* all else is .*write the same"):
            read(wide(tmp_path, **good, c=odd))
    del good["label"]
    notes = read(wide(tmp_path, **good, c=["X", "Y", "X"])).notes
    assert any("c predicts ['X', 'Y']" in note and "no class in common" in note for note in notes)
    opposite = read(wide(tmp_path, a=["x"] * 3, b=["y"] * 3))
    assert (
        opposite.classes == ["x", "y"]
        and (opposite.predictions[0] != opposite.predictions[1]).all()
    )
    with pytest.raises(OutsideError, match="column 'split' is not like predictions"):
        read(wide(tmp_path, **good, split=["x", "x", "y"]))


def test_labels_of_one_class_are_refused(tmp_path):
    path = wide(tmp_path, a=["x", "y"], b=["x", "x"], label=["x", "x"])
    with pytest.raises(OutsideError, match="all labels are 'x'; .* leave the labels out"):
        read(path)


def test_copies_are_noted(tmp_path):
    runs = read(wide(tmp_path, a=[0, 1, 1], b=[0, 1, 0], c=[0, 1, 1]))
    assert "a and c are identical: the same file, or the same seed?" in runs.notes


def test_the_file_of_one_run_is_not_taken_for_many(tmp_path):
    np.savez(tmp_path / "predictions.npz", predictions=np.zeros((9, 2)), label_ids=np.zeros(9, int))
    with pytest.raises(OutsideError, match="this is one run, .* give the folder"):
        read(tmp_path / "predictions.npz")
