"""Runs made elsewhere: every format gives the same runs, every mistake its own message."""

import pickle

import numpy as np
import pandas as pd
import pytest

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
RESULTS = "predict_results_rte.txt"


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


def text_folder(path, values, file=RESULTS):
    """Exactly what run_glue.py and run_classification.py write."""
    for name, said in zip(NAMES, values, strict=True):
        (path / name).mkdir(parents=True)
        with open(path / name / file, "w") as writer:
            writer.write("index\tprediction\n")
            for index, item in enumerate(said):
                item = f"{item:3.3f}" if isinstance(item, float) else item
                writer.write(f"{index}\t{item}\n")
    return path


def store(path, content):
    """A file or folder of runs: a table, arrays by name, text, or what a function makes."""
    if isinstance(content, pd.DataFrame):
        return save(content, path / "runs.csv")
    if isinstance(content, dict):
        np.savez(path / "runs.npz", **content)
        return path / "runs.npz"
    if isinstance(content, str):
        (path / "runs.csv").write_text(content)
        return path / "runs.csv"
    return content(path)


# --- every format -------------------------------------------------------------------------------

#: What is stored, and the gold labels of it.
CONTENTS = {
    "codes": (CODES, GOLD),
    "words": (WORDS[CODES], WORDS[GOLD]),
    "scores": (SCORES, SCORES[0]),
    "logits": (LOGITS, GOLD),
    "probabilities": (PROBABILITIES, GOLD),
}
FORMATS = {
    "long.csv": tuple(CONTENTS),
    "long.parquet": tuple(CONTENTS),
    "indexed.parquet": ("codes",),
    "wide.csv": ("codes", "words", "scores"),
    "wide.parquet": ("codes", "words", "scores"),
    "runs.npz": tuple(CONTENTS),
    "trainer": ("codes", "scores", "logits"),
    RESULTS: ("codes", "words", "scores"),
    "predict_results.txt": ("codes",),
}


def store_as(form, content, path):
    """The runs in a format; gold labels that it cannot hold are in gold.npy beside it."""
    values, gold = CONTENTS[content]
    if form == "runs.npz":
        kind = content if values.ndim == 3 else "predictions"
        extra = {"labels": gold, "runs": NAMES, "examples": IDS, "representations": STATES}
        return store(path, {kind: values, **extra})
    if form == "trainer":
        values = values[..., None] if content == "scores" else values
        extra = {"label_ids": [gold] * 3, "examples": [IDS] * 3, "hidden_states": STATES}
        return trainer_folder(path, values, **extra)
    if form.endswith(".txt"):
        np.save(path / "gold.npy", gold)
        return text_folder(path / "runs", values, form)
    if form.startswith("wide"):
        return save(wide_table(values, gold), path / form)
    prefix = {"logits": "logit", "probabilities": "prob"}.get(content)
    table = long_table(scores(prefix, values) if prefix else {"prediction": values}, gold)
    # Those of the first run say the order of the examples, the others may stand anywhere.
    table = pd.concat([table[:N], table[N:].sample(frac=1, random_state=0)])
    return save(table.set_index(["run", "example"]) if "index" in form else table, path / form)


@pytest.mark.parametrize(
    ("form", "content"), [(form, content) for form in FORMATS for content in FORMATS[form]]
)
def test_every_format_gives_the_same_runs(form, content, tmp_path):
    path, has_gold = store_as(form, content, tmp_path), not form.endswith(".txt")
    runs = read(path, labels=None if has_gold else tmp_path / "gold.npy")
    assert runs.names == NAMES and runs.source.startswith("3 runs on 12 examples")
    assert runs.example_ids == (IDS if has_gold else [str(i) for i in range(N)])
    classes = {"words": sorted(WORDS), "scores": []}.get(content, ["0", "1", "2"])
    assert runs.classes == classes and ("regression" in runs.source) == (content == "scores")
    values, gold = {"words": (2 - CODES, 2 - GOLD), "scores": (SCORES, SCORES[0])}.get(
        content, (CODES, GOLD)
    )
    assert np.array_equal(runs.predictions, values) and np.array_equal(runs.labels, gold)
    kind = "f" if content == "scores" else "i"
    assert runs.predictions.dtype.kind == runs.labels.dtype.kind == kind
    assert (runs.logits is not None) == any("softmax" in note for note in runs.notes)
    assert np.array_equal(runs.logits, LOGITS if content == "logits" else None)
    if content in ("logits", "probabilities"):
        np.testing.assert_allclose(runs.probabilities, PROBABILITIES, atol=1e-15)
        np.testing.assert_allclose(runs.probabilities.sum(-1), 1, atol=1e-15)
    else:
        assert runs.probabilities is None
    if form in ("runs.npz", "trainer"):
        assert np.array_equal(np.stack(runs.representations["given"]), STATES)
    if not has_gold:
        assert any("No gold labels" in note for note in read(path).notes)


def test_arrays_out_of_order_and_whole_scores_of_the_example_scripts(tmp_path):
    order = [2, 0, 1]
    names = [NAMES[s] for s in order]
    runs = read(store(tmp_path, {"predictions": CODES[order], "labels": GOLD, "runs": names}))
    assert runs.names == NAMES and np.array_equal(runs.predictions, CODES)
    runs = read(text_folder(tmp_path / "whole", np.full((3, 4), 2.0)))
    assert runs.classes == [] and (runs.predictions == 2).all()


def test_names_that_look_missing_or_numeric_are_kept(tmp_path):
    text = "example,label,a,b\n007,NA,NA,None\n08,None,NA,None\n8,None,null,NA\n"
    runs = read(store(tmp_path, text))
    assert runs.example_ids == ["007", "08", "8"] and runs.classes == ["NA", "None", "null"]
    assert runs.labels.tolist() == [0, 1, 1]


def test_class_numbers_with_gaps_keep_their_names_and_numeric_order(tmp_path):
    runs = read(store(tmp_path, "label,a,b\n-1,-1,2\n10,2,10\n"))
    assert runs.classes == ["-1", "2", "10"] and runs.predictions.tolist() == [[0, 1], [1, 2]]
    assert runs.example_ids == ["1", "2"]


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
    path = store(tmp_path, wide_table().drop(columns="label"))
    by_id = pd.DataFrame({"example": [*IDS[::-1], "more"], "label": [*GOLD[::-1], 0]})
    by_order = pd.DataFrame({"label": GOLD})
    for table in (by_id, by_order):
        runs = read(path, labels=save(table, tmp_path / f"gold{suffix}"))
        assert np.array_equal(runs.labels, GOLD)


def test_an_empty_label_column_is_no_labels(tmp_path):
    for table in (wide_table(labels=[""] * N), long_table(labels=[None] * N)):
        assert read(store(tmp_path, table)).labels is None


def test_runs_can_be_left_out(tmp_path):
    path = trainer_folder(tmp_path, changed(LOGITS, (1, 3), np.nan))
    (path / "logs").mkdir()
    runs = read(path, exclude=["seed2"])
    assert runs.names == ["seed1", "seed10"] and np.array_equal(runs.logits, LOGITS[[0, 2]])
    assert runs.left_out == ["seed2"]
    assert "Left out as asked: seed2." in runs.notes
    assert "Folders without predictions, passed over: logs." in runs.notes


def test_scores_go_before_decisions(tmp_path):
    table = long_table(scores("logit", LOGITS) | {"prediction": 1 - CODES // 2})
    runs = read(store(tmp_path, table))
    assert np.array_equal(runs.predictions, CODES)
    assert "The logits are read, and not prediction." in runs.notes


def test_nearly_normalised_probabilities_are_normalised(tmp_path):
    runs = read(store(tmp_path, {"probabilities": PROBABILITIES.astype(np.float16)}))
    assert np.abs(runs.probabilities.sum(-1) - 1).max() < 1e-12
    assert runs.names == ["run1", "run2", "run3"]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("label,a,b\n-1,-1,2\n10,2,10\n", "Predicted, but never a gold label: 2."),
        (wide_table(PROBABILITIES[..., 1], GOLD % 2), "prob_0 and prob_1"),
        ("a,b,c\n0,0,0\n1,1,1\n1,0,1\n", "a and c are identical: the same file, or the same seed?"),
        ("a,b,c\nx,x,X\ny,x,Y\n", "c predicts ['X', 'Y'], all else is ['x', 'y']: no class in"),
        ("a,b\nx,y\nx,y\n", "a predicts ['x'], all else is ['y']: no class in common"),
    ],
)
def test_what_is_odd_is_noted(content, note, tmp_path):
    assert any(note in noted for noted in read(store(tmp_path, content)).notes)


@pytest.mark.parametrize("mark", [",", ", ", "\t", " "])
@pytest.mark.parametrize("ending", ["", "\n", ",\r\n"])
def test_lines_of_answers_are_runs_numbered_from_0(mark, ending, tmp_path):
    """As McCoy, Min & Linzen (2020) publish theirs: a line an example, 100 answers in it."""
    ending = ending if "," in mark else ending.replace(",", "")
    codes = np.random.default_rng(0).integers(0, 3, (100, 30))
    lines = [mark.join(WORDS[column]) for column in codes.T]
    path = text(tmp_path / "all_predictions.txt", (ending or "\n").join(lines) + ending)
    gold = pd.DataFrame({"index": range(30), "gold_label": WORDS[codes[0]], "n_correct": 7})
    runs = read(path, labels=save(gold, tmp_path / "gold.csv"))
    assert runs.names == [f"run{i}" for i in range(100)]
    assert runs.example_ids == [str(i) for i in range(30)] and runs.classes == sorted(WORDS)
    assert np.array_equal(runs.predictions, 2 - codes) and np.array_equal(runs.labels, 2 - codes[0])
    assert read(path, exclude=["run3"]).names[2:4] == ["run2", "run4"]


def test_lines_may_hold_numbers_and_a_gold_label_is_no_run(tmp_path):
    runs = read(text(tmp_path / "few.txt", "0 0\n1 2\n"))
    assert runs.predictions.tolist() == [[0, 1], [0, 2]] and runs.labels is None
    assert "regression" in read(text(tmp_path / "scores.txt", "0.1 0.2\n0.3 0.4\n")).source
    gold = text(tmp_path / "gold.txt", 'gold_label\tsentence1\n1\tsaid "no\n0\tyes"\n')
    assert read(tmp_path / "few.txt", labels=gold).labels.tolist() == [1, 0]
    runs = read(store(tmp_path, wide_table().rename(columns={"label": "gold_label"})))
    assert runs.names == NAMES and np.array_equal(runs.labels, GOLD)


# --- every mistake ------------------------------------------------------------------------------


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


def beside(folder, name, content=""):
    """A folder of runs with another file in it."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    return folder


def trainer(values=LOGITS, **arrays):
    return lambda path: trainer_folder(path, values, **arrays)


#: What is stored, and the words of the message, with … between those that stand apart.
BAD_PATHS = [
    (lambda p: store(p, wide_table()).with_name("run.csv"), "no such … did you mean runs.csv?"),
    (lambda p: text(p / "runs.json", "{}"), "runs.json … '.json' … .parquet"),
    (lambda p: p, "none of its 0 folders holds a run … one folder a run"),
    (lambda p: trainer_folder(p / "lr1").parent, "only one level is read … give … lr1"),
    (lambda p: trainer_folder(p) / "seed1", "only one level is read … seed1/predictions.npz, give"),
    (lambda p: trainer_folder(p, LOGITS[:1], ["seed1"]), "1 run (seed1) … two or more"),
    ("a,b\n1,0\n", "1 example; … two or more"),
    (
        lambda p: text(p / "a.txt", "x,y\ny,x\nx\n"),
        "a.txt: line 3: 1 answers in 1 places, line 1 has 2; write",
    ),
    (
        lambda p: text(p / "a.txt", "x,y,x\ny,,y\n"),
        "a.txt: line 2: 2 answers in 3 places, line 1 has 3",
    ),
    (lambda p: text(p / "a.txt", "x y\n\ny x\n"), "a.txt: line 2: 0 answers in 0 places"),
    (lambda p: text(p / "a.txt", "s0,s1\nx,x\ny,x\n"), "line 1: ['s0', 's1'] are in no … header"),
    (lambda p: text(p / "a.txt", b"x,\xff\n"), "a.txt: is no text in UTF-8 … save it"),
    (lambda p: text(p / "a.txt", ""), "a.txt: 0 runs (none) … two or more"),
    (lambda p: text(p / "a.txt", "x\ny\nx\n"), "a.txt: 1 run (run0) … two or more"),
]

BAD_TABLES = [
    ("", "runs.csv … EmptyDataError … header"),
    ("Results\nall fine, mostly\n", "cannot be read as a table … line 2 … same number of columns"),
    ("a;b\n1;0\n", "'a;b' … put commas"),
    (lambda p: cut(save(wide_table(), p / "runs.parquet")), "cannot be read as a table"),
    (
        long_table().rename(columns={"run": "runs"}),
        "no column 'run' among runs, example, label, prediction … did you mean runs?",
    ),
    (long_table().rename(columns={"prediction": "predicted"}), "did you mean predicted?"),
    (long_table().replace({"run": {"seed10": ""}}), "row 1 names no run"),
    (long_table().replace({"example": {"ex3": ""}}), "run 'seed1': row 16 has no example id"),
    (long_table().drop(index=[4, 7]), "run 'seed10' lacks 2 of 12 examples, first: ex4 … exclude"),
    (
        pd.concat([long_table(), long_table().iloc[[14]]]),
        "run 'seed1' … example 'ex2' is in rows 15, 37 … one row a run and example",
    ),
    (wide_table().reset_index(names=""), "column '' … index=False"),
    (pd.DataFrame({"a": [0, 1] * 30, "b": 1, "c": range(60)}), "column 'c' is not like"),
    ("a,b,split\nx,x,x\ny,x,x\nx,y,y\n", "column 'split' is not like predictions"),
    (wide_table().assign(loss=SCORES[0]), "run 'loss' has numbers with fractions … exclude"),
    (
        wide_table(changed(WORDS[CODES], (1, 3), ""), WORDS[GOLD]),
        "run 'seed2', example 'ex3' … is missing: fill it in",
    ),
    (wide_table(changed(SCORES, (0, 1), np.inf)), "run 'seed1', example 'ex1' … inf … not finite"),
    (long_table(scores("prob", LOGITS)), "run 'seed1', example 'ex0' … sum 1 … if they are logits"),
    (
        long_table().assign(label=[*GOLD, *GOLD, *(GOLD + 1) % 3]),
        "run 'seed2' … label of example 'ex0' is '1', in run 'seed1' '0'",
    ),
    (wide_table(labels=["", *GOLD[1:]]), "example 'ex0': label '' is missing"),
    (
        wide_table(labels=[*GOLD[:5], -100, *GOLD[6:]]),
        "example 'ex5': label '-100' marks a row to be ignored: drop the row",
    ),
    (
        long_table(scores("logit", LOGITS), labels=GOLD + 1),
        "example 'ex2': label '3' is not the number of a column of logits, 0 to 2",
    ),
    (wide_table(SCORES, WORDS[GOLD]), "label 'neutral' is no number, but the predictions"),
    (wide_table(labels=GOLD + 0.5), "label '0.5' has a fraction"),
    (wide_table(WORDS[CODES]), "no class in common … 'entailment' … '0'"),
    ("a,b,label\nx,x,x\ny,x,x\n", "all labels are 'x'; … leave the labels out"),
    # A split, a constant, another spelling: none of them is a run.
    *(
        (f"a,b,label,c\nx,x,x,{c}\ny,x,y,{c}\nx,y,y,{d}\n", "run c predicts … write the same")
        for c, d in (("dev", "dev"), (1, 1), ("X", "Y"))
    ),
]

BAD_ARRAYS = [
    (lambda p: cut(store(p, {"logits": LOGITS})), "runs.npz … damaged (BadZipFile)"),
    (
        lambda p: text(p / "runs.npz", pickle.dumps({"logits": [1]})),
        "runs.npz: no archive of np.savez … pickles are not opened",
    ),
    (
        {"logits": np.array([LOGITS[0], LOGITS[1, :2], None], object)},
        "array 'logits' holds Python objects … unpickled … save numbers or text",
    ),
    ({"logit": LOGITS}, "has arrays logit; save one that is called logits or probabilities"),
    ({"logits": LOGITS, "labels": GOLD[1:]}, "labels has shape (11,), expected (12,)"),
    ({"logits": LOGITS, "runs": ["a", "b", "a"]}, "two runs are called 'a'"),
    (
        {"logits": LOGITS, "representations": STATES[:, :, 1:]},
        "representations has shape (3, 2, 11, 4), expected (3, L, 12, D)",
    ),
    (
        {"logits": changed(LOGITS, (1, 4), np.nan), "runs": NAMES, "examples": IDS},
        "run 'seed2', example 'ex4' … diverged … exclude seed2",
    ),
    ({"predictions": CODES, "label_ids": GOLD}, "this is one run, … give the folder"),
]

BAD_FOLDERS = [
    (trainer(label_ids=[None] * 3), "'label_ids' holds Python objects (None … leave it out"),
    (trainer(np.zeros((3, N, 5, 2))), "predictions has shape (12, 5, 2), expected (N, C)"),
    (
        trainer([LOGITS[0], LOGITS[1][:, :2], LOGITS[2]]),
        "run 'seed2' has predictions of shape (12, 2) … run 'seed1' predictions of shape",
    ),
    (
        trainer(label_ids=[GOLD, GOLD, GOLD[::-1]]),
        "run 'seed10': the label of example '1' is 2, in run 'seed1' 0",
    ),
    (trainer(label_ids=[[-1] * N] * 3), "label -1 is not the number … leave the labels out"),
    (trainer(label_ids=[GOLD, [*GOLD, 0], GOLD]), "seed2/predictions.npz: label_ids has shape (13"),
    (
        trainer(hidden_states=[STATES[0], STATES[1][:1], STATES[2]]),
        "run 'seed2' has … and 1 layers of states, run 'seed1' … and 2 layers of states",
    ),
    (
        lambda p: beside(trainer_folder(p, LOGITS[:1], ["seed1"]), f"seed2/{RESULTS}"),
        "run 'seed2' has predict_results_rte.txt, run 'seed1' predictions.npz",
    ),
    (
        lambda p: beside(text_folder(p, CODES), "seed2/predict_results_mnli.txt"),
        "run 'seed2' has predict_results_mnli.txt and predict_results_rte.txt",
    ),
    (
        lambda p: beside(text_folder(p, CODES), f"seed2/{RESULTS}", "id\tlabel\n0\t1\n"),
        "seed2/predict_results_rte.txt: columns id, label; expected index, a tab",
    ),
    (lambda p: text_folder(p, [[["joy"]] * 3] * 3), "example '0' has several labels, ['joy']"),
]


def refused(words, path, **options):
    with pytest.raises(OutsideError) as caught:
        read(path, **options)
    for part in words.split(" … "):
        assert part in str(caught.value), str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("content", "words"), [*BAD_PATHS, *BAD_TABLES, *BAD_ARRAYS, *BAD_FOLDERS])
def test_bad_input_is_named(content, words, tmp_path):
    assert str(tmp_path) in refused(words, store(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda p: p / "gold.csv", "gold.csv: no such file"),
        (pd.DataFrame({"labels": GOLD}), "runs.csv: no column 'label' … did you mean labels?"),
        (pd.DataFrame({"label": GOLD[1:]}), "column 'label' has shape (11,), expected (12,)"),
        (
            pd.DataFrame({"example": IDS[1:], "label": GOLD[1:]}),
            "runs.csv lacks 1 of 12 examples, first: ex0 … ids as in",
        ),
        (lambda p: text(p / "gold.npy", pickle.dumps([0] * N)), "gold.npy: no array of np.save"),
    ],
)
def test_bad_labels_are_named(content, words, tmp_path):
    path = save(wide_table().drop(columns="label"), tmp_path / "wide.csv")
    refused(words, path, labels=store(tmp_path, content))


def test_labels_given_twice_must_agree_and_a_run_to_exclude_must_be_there(tmp_path):
    path = store(tmp_path, wide_table())
    np.save(tmp_path / "gold.npy", [*GOLD[:-1], 0])
    words = "gold.npy: the label of example 'ex11' is 0, in … runs.csv '2'"
    refused(words, path, labels=tmp_path / "gold.npy")
    refused("no run 'seed3' to exclude: did you mean seed", path, exclude=["seed3"])
    refused("1 run (seed10)", path, exclude=["seed1", "seed2"])
