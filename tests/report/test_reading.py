"""Runs made elsewhere: every format gives the same runs, every mistake its own message."""

import itertools
import json
import pickle
import shutil
import sys
import zipfile
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from lib import paths
from lib.measures import pairwise_disagreement
from lib.report import reading
from lib.report.columns import Options
from lib.report.opening import OutsideError


def read(path, **how):
    return reading.read(path, **how).group


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


def trainer_of(values=LOGITS, **arrays):
    return lambda path: trainer_folder(path, values, **arrays)


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
    runs = read(text_folder(tmp_path / "whole", np.full((3, 4), 2.0)), task="regression")
    assert runs.classes == [] and (runs.predictions == 2).all()


def test_names_that_look_missing_or_numeric_are_kept(tmp_path):
    text = "example,label,s1,s2\n007,NA,NA,None\n08,None,NA,None\n8,None,null,NA\n"
    runs = read(store(tmp_path, text))
    assert runs.example_ids == ["007", "08", "8"] and runs.classes == ["NA", "None", "null"]
    assert runs.labels.tolist() == [0, 1, 1]


def test_class_numbers_with_gaps_keep_their_names_and_numeric_order(tmp_path):
    runs = read(store(tmp_path, "label,s1,s2\n-1,-1,2\n10,2,10\n"))
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


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".txt"])
def test_labels_from_a_file_by_id_and_by_order(suffix, tmp_path):
    path = store(tmp_path, wide_table().drop(columns="label"))
    by_id = pd.DataFrame({"example": [*IDS[::-1], "more"], "label": [*GOLD[::-1], 0]})
    tables = [by_id, pd.DataFrame({"label": GOLD}), by_id.rename(columns={"label": "target"})]
    for table in tables[1:2] if suffix == ".txt" else tables:
        gold = tmp_path / f"gold{suffix}"
        if suffix == ".txt":
            gold.write_text("\n".join(map(str, GOLD)))  # a line an example, no header
        else:
            save(table, gold)
        assert np.array_equal(read(path, labels=gold).labels, GOLD)


def test_an_empty_label_column_is_no_labels(tmp_path):
    for table in (wide_table(labels=[""] * N), long_table(labels=[None] * N)):
        assert read(store(tmp_path, table)).labels is None


def test_runs_can_be_left_out(tmp_path):
    path = trainer_folder(tmp_path, changed(LOGITS, (1, 3), np.nan))
    (path / "logs").mkdir()
    (path / "logs" / "events.json").write_text('{"loss": 1}')
    runs = read(path, exclude=["seed2"])
    assert runs.names == ["seed1", "seed10"] and np.array_equal(runs.logits, LOGITS[[0, 2]])
    assert runs.left_out == ["seed2"]
    assert "Left out as asked: seed2." in runs.notes
    assert "Passed over: logs." in runs.notes


def test_scores_go_before_decisions(tmp_path):
    table = long_table(scores("logit", LOGITS) | {"prediction": 1 - CODES // 2})
    outside = reading.read(store(tmp_path, table))
    assert np.array_equal(outside.group.predictions, CODES)
    assert outside.taken.ignored == ["prediction"]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("label,s1,s2\n-1,-1,2\n10,2,10\n", "Predicted, but never a gold label: 2."),
        (wide_table(PROBABILITIES[..., 1], GOLD % 2), "taken as P(class 1), cut at .5"),
        (wide_table(LOGITS[..., 1], GOLD % 2), "taken as one logit of class 1"),
        ("s1,s2,s3\n0,0,0\n1,1,1\n1,0,1\n", "s1 and s3 are identical: the same file"),
        ("s1,s2,s3\nx,x,X\ny,x,Y\n", "s3 predicts ['X', 'Y'], all else is ['x', 'y']: no class"),
        ("s1,s2\nx,y\nx,y\n", "s1 predicts ['x'], all else is ['y']: no class in common"),
        (trainer_of(np.zeros((3, N, 3))), "On 36 of 36 rows (100.0%) classes tie"),
        (trainer_of(label_ids=[[*GOLD[:-1], -100]] * 3), "1 rows whose label is -100"),
        (trainer_of(np.concatenate([LOGITS, LOGITS[:, -1:]], 1), label_ids=[[*GOLD, 2]] * 3),
         "the last 1 rows repeat the one before them"),
        (trainer_of(), "by their position: there are no ids, but the gold labels agree"),
        (trainer_of(label_ids=None), "no labels with each run, so nothing proves"),
        ({"predictions": CODES.T}, "has shape (12, 3): taken as 3 runs on 12 examples"),
        (long_table({"prediction": np.tile(np.eye(2, dtype=int)[0], (3, N // 2))}, [1] * N),
         "no answers, only whether each is right (prediction)"),
    ],
)  # fmt: skip
def test_what_is_odd_is_noted(content, note, tmp_path):
    notes = read(store(tmp_path, content)).notes
    assert any(note in noted for noted in notes), notes


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


def test_lines_may_hold_numbers(tmp_path):
    runs = read(text(tmp_path / "few.txt", "0 0\n1 2\n"))
    assert runs.predictions.tolist() == [[0, 1], [0, 2]] and runs.labels is None
    gold = text(tmp_path / "gold.txt", 'gold_label\tsentence1\n1\tsaid "no\n0\tyes"\n')
    assert read(tmp_path / "few.txt", labels=gold).labels.tolist() == [1, 0]


# --- what people have ---------------------------------------------------------------------------


def agrees(path, *, gold=True, **how):
    """The three runs, whatever they were written as; returns what was taken for what."""
    outside = reading.read(path, **how)
    group = outside.group
    assert len(group) == 3 and sorted(group.example_ids, key=len) != []
    apart = pairwise_disagreement(group.predictions)
    np.testing.assert_allclose(apart, pairwise_disagreement(CODES), atol=1e-12)
    if gold:
        accuracies = (group.predictions == group.labels).mean(1)
        np.testing.assert_allclose(accuracies, (CODES == GOLD).mean(1))
    return outside.taken


#: Names of a gold column, of a column of runs and of ids, and metadata, as people write them.
@pytest.mark.parametrize(
    "gold", ["Label", "gold", "y_true", "target", "ground truth", "answer", "gold_label"]
)
def test_a_gold_column_is_no_run(gold, tmp_path):
    table = wide_table().rename(columns={"label": gold})
    taken = agrees(store(tmp_path, table))
    assert taken.labels == gold and taken.runs == NAMES and taken.ignored == []


def test_only_columns_that_share_a_stem_are_runs(tmp_path):
    table = wide_table().assign(ensemble=CODES[0], length=GOLD % 2, note="some words", fold=1)
    assert agrees(store(tmp_path, table)).ignored == ["ensemble", "length", "note", "fold"]
    table = table.rename(columns=dict(zip(NAMES, "abc", strict=True)))
    agrees(store(tmp_path, table), options=Options(runs="a,b,c"))
    table = table.rename(columns=dict(zip("abc", ["pred_a", "pred_b", "pred_c"], strict=True)))
    agrees(store(tmp_path, table), options=Options(runs="pred_*"))


LONG = {"run": "seed", "example": "idx", "label": "y_true", "prediction": "y_pred"}


@pytest.mark.parametrize(
    "names", [LONG, {"run": "run_id"}, {"prediction": "pred", "example": "id"}]
)
def test_long_tables_have_the_names_that_people_give(names, tmp_path):
    taken = agrees(store(tmp_path, long_table().rename(columns=names)))
    assert taken.ignored == [] and taken.labels == names.get("label", "label")
    taken = agrees(store(tmp_path, long_table().drop(columns="example")))
    other = long_table().rename(columns={"run": "who", "example": "which", "prediction": "said"})
    how = Options(run="who", example="which", prediction="said")
    agrees(store(tmp_path, other.assign(score=0.5)), options=how)


def lists(values):
    return [list(map(float, row)) for row in values]


def json_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def lm_eval_rows(run, *, answers=True, filters=("none",)):
    """What lm-evaluation-harness logs of each document."""
    for i, name in itertools.product(range(N), filters):
        pairs = [[float(x), False] for x in LOGITS[run, i]]
        row = {"doc_id": i, "doc": {"q": IDS[i]}, "target": int(GOLD[i]), "filter": name}
        row |= {"filtered_resps": pairs if answers else [], "metrics": ["acc"]}
        yield row | {"resps": [], "acc": float(CODES[run, i] == GOLD[i])}


def inspect_sample(run, i):
    answer = "ABC"[CODES[run, i]]
    scores = {"choice": {"value": "C" if CODES[run, i] == GOLD[i] else "I", "answer": answer}}
    return {"id": i, "epoch": 1, "input": "q", "target": "ABC"[GOLD[i]], "scores": scores}


def inspect_log(path, run):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps({"eval": {"task": "t"}}))
        for i in range(N):
            archive.writestr(f"samples/{i}_epoch_1.json", json.dumps(inspect_sample(run, i)))


def every_eval_ever(run):
    for i in range(N):
        answer = WORDS[CODES[run, i]]
        yield {
            "schema_version": "0.2.1", "evaluation_id": f"e{run}", "model_id": "m",
            "evaluation_name": "t", "sample_id": IDS[i], "interaction_type": "single_turn",
            "input": {"raw": "q", "reference": [WORDS[GOLD[i]]]}, "output": {"raw": [answer]},
            "answer_attribution": [{"extracted_value": answer}],
            "evaluation": {"score": 1.0, "is_correct": bool(CODES[run, i] == GOLD[i])},
        }  # fmt: skip


def in_folder(path, write, name="seed{}"):
    for run, number in enumerate((1, 2, 10)):
        target = path / name.format(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, run)
    return path


def of_run(run):
    return pd.DataFrame({"idx": IDS, "label": GOLD, "prediction": CODES[run]})


def classes_of_run(run):
    """A column of probabilities for each class, called as the class is."""
    shares = dict(zip(WORDS, PROBABILITIES[run].T, strict=True))
    return of_run(run).drop(columns="prediction").assign(**shares, label=WORDS[GOLD])


WRITERS = {
    "seed{}.csv": lambda p, r: of_run(r).to_csv(p, index=False),
    "preds_seed{}.tsv": lambda p, r: of_run(r).to_csv(p, index=False, sep="\t"),
    "run-{}/eval/predictions.csv": lambda p, r: of_run(r).to_csv(p, index=False),
    "seed{}.csv.gz": lambda p, r: of_run(r).to_csv(p, index=False),
    "seed{}.json": lambda p, r: of_run(r).to_json(p, orient="records"),
    "lines/seed{}.jsonl": lambda p, r: of_run(r).to_json(p, orient="records", lines=True),
    "columns/seed{}.json": lambda p, r: p.write_text(json.dumps(of_run(r).to_dict("list"))),
    "by_row/seed{}.json": lambda p, r: of_run(r).to_json(p),
    "seed{}.parquet": lambda p, r: of_run(r).to_parquet(p),
    "seed{}.feather": lambda p, r: of_run(r).to_feather(p),
    "classes{}.csv": lambda p, r: classes_of_run(r).to_csv(p, index=False),
    "lists{}.csv": lambda p, r: of_run(r).assign(logits=list(LOGITS[r])).to_csv(p, index=False),
    "seed{}.xlsx": lambda p, r: of_run(r).to_excel(p, index=False),
    "seed{}.npz": lambda p, r: np.savez(p, predictions=LOGITS[r], label_ids=GOLD),
    "seed{}/predictions.npy": lambda p, r: (
        np.save(p, LOGITS[r]), np.save(p.with_name("labels.npy"), GOLD)
    ),
    "seed{0}/m/samples_t_2025-01-{0}T10-00.jsonl": lambda p, r: json_lines(p, lm_eval_rows(r)),
    "2025-01-01T0{0}_t_x.eval": inspect_log,
    "logs/2025-01-01T0{0}_t_x.json": lambda p, r: p.write_text(
        json.dumps({"version": 2, "samples": [inspect_sample(r, i) for i in range(N)]})
    ),
    "eee/m{}.jsonl": lambda p, r: json_lines(p, every_eval_ever(r)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_or_a_folder_of_a_run(name, tmp_path):
    """Whatever else lies beside it: what a Trainer writes, a README."""
    path = in_folder(tmp_path, WRITERS[name], name)
    for folder in [path, *path.rglob("*")]:
        if folder.is_dir():
            (folder / "README.md").write_text("# Runs")
            (folder / "eval_results.json").write_text('{"eval_accuracy": 0.5}')
            (folder / "all.log").write_text("nothing")
    taken = agrees(path)
    assert len(taken.runs) == 3 and taken.labels


def test_pipelines_and_headerless_logits_and_glue_submissions(tmp_path):
    def pipeline(path, run):
        answers = [{"label": f"LABEL_{c}", "score": 0.7} for c in CODES[run]]
        path.write_text(json.dumps(answers))

    agrees(in_folder(tmp_path / "p", pipeline, "seed{}.json"), gold=False)
    np.save(tmp_path / "gold.npy", GOLD)
    agrees(tmp_path / "p", labels=tmp_path / "gold.npy")

    def bare(path, run):
        pd.DataFrame(LOGITS[run]).to_csv(path, index=False, header=False)

    taken = agrees(in_folder(tmp_path / "s", bare, "seed{}/val_preds.csv"), gold=False)
    assert "Its first line is no header." in taken.notes

    folder = text_folder(tmp_path / "g", WORDS[CODES], "RTE.tsv")
    lines = text(tmp_path / "gold.txt", "\n".join(WORDS[GOLD]))
    agrees(folder, labels=lines)
    dev = "index\tsentence1\tlabel\n" + "".join(
        f'{i}\tsaid "it\t{WORDS[g]}\n' for i, g in enumerate(GOLD)
    )
    agrees(folder, labels=text(tmp_path / "dev.tsv", dev))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_separators_and_encodings(mark, encoding, tmp_path):
    words = np.array(["café", "thé", "plain"])
    table = wide_table(words[CODES], words[GOLD])
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False, sep=mark, encoding=encoding)
    agrees(path)
    assert set(read(path).classes) == set(words)


def test_decimal_commas_indexes_and_typed_columns(tmp_path):
    path = tmp_path / "t.csv"
    wide_table(SCORES, SCORES[0]).to_csv(path, sep=";", decimal=",", index=False)
    assert np.allclose(read(path).predictions, SCORES)
    wide_table().drop(columns="example").to_csv(path)
    agrees(path)
    typed = wide_table().astype({"label": "category", "seed1": "Int64"})
    typed["seed2"] = [str(v).encode() for v in typed["seed2"]]
    typed["seed10"] = [Decimal(int(v)) for v in typed["seed10"]]
    typed = typed.assign(when=pd.Timestamp("2025-01-01"), ids=[[1, 2]] * N)
    typed.to_parquet(tmp_path / "t.parquet")
    agrees(tmp_path / "t.parquet")
    pd.DataFrame({"label": GOLD} | {n: lists(LOGITS[s]) for s, n in enumerate(NAMES)}).to_parquet(
        tmp_path / "l.parquet"
    )
    agrees(tmp_path / "l.parquet")
    assert np.allclose(read(tmp_path / "l.parquet").logits, LOGITS)


@pytest.mark.parametrize(
    ("written", "note"),
    [
        (PROBABILITIES.round(2), "were normalised"),
        (100 * PROBABILITIES, "divided by 100"),
        (np.log(PROBABILITIES), "were exponentiated"),
    ],
)
def test_probabilities_as_people_write_them(written, note, tmp_path):
    runs = read(store(tmp_path, long_table(scores("prob", written))))
    np.testing.assert_allclose(runs.probabilities, PROBABILITIES, atol=0.01)
    np.testing.assert_allclose(runs.probabilities.sum(-1), 1, atol=1e-12)
    assert any(note in noted for noted in runs.notes)
    runs = read(store(tmp_path, long_table(scores("logit", PROBABILITIES))))
    assert np.allclose(runs.probabilities, PROBABILITIES)
    named = {f"prob_{word}": PROBABILITIES[..., c] for c, word in enumerate(WORDS)}
    runs = read(store(tmp_path, long_table(named, WORDS[GOLD])))
    assert runs.classes == sorted(WORDS), "whatever the order of the columns"
    assert np.allclose(runs.probabilities, PROBABILITIES[..., ::-1])


@pytest.mark.parametrize(("label", "said"), [("1", "LABEL_1"), ("1", "True")])
def test_other_spellings_of_one_class(label, said, tmp_path):
    other = {"1": "0", "LABEL_1": "LABEL_0", "True": "False"}
    rows = [(label, said, said), (other[label], other[said], said)]
    table = pd.DataFrame(rows, columns=["label", "s1", "s2"])
    runs = read(store(tmp_path, table))
    assert (runs.predictions == runs.labels).mean(1).tolist() == [1, 0.5]


def test_a_class_called_nan_is_a_class_and_a_number_is_missing(tmp_path):
    runs = read(store(tmp_path, "label,s1,s2\nnan,nan,None\nNone,None,None\n"))
    assert runs.classes == ["None", "nan"] and runs.labels.tolist() == [1, 0]
    refused("is missing", store(tmp_path, "label,s1,s2\n1,1,nan\n0,0,0\n1,1,1\n"))


def test_the_user_says_what_a_task_is(tmp_path):
    words = store(tmp_path, wide_table(WORDS[CODES], WORDS[GOLD]))
    refused("example 'ex0': … is no number: say --task classification", words, task="regression")
    agrees(words, task="classification")
    whole = store(tmp_path, wide_table())
    assert read(whole, task="regression").classes == []
    answers = np.where(draw.random((3, N)) < 0.05, 1.5, CODES)
    assert read(store(tmp_path, wide_table(answers))).classes[:1] == ["0"]
    unlabelled = store(tmp_path, wide_table(SCORES).drop(columns="label"))
    assert read(unlabelled, task="classification").classes != [] == read(unlabelled).classes
    assert read(store(tmp_path, wide_table(CODES, SCORES[0]))).classes == []


def test_free_text_is_compared_as_it_is(tmp_path):
    answers = np.array([[f"It is {c}, in line {i}." for i, c in enumerate(row)] for row in CODES])
    agrees(
        store(
            tmp_path, wide_table(answers, [f"It is {g}, in line {i}." for i, g in enumerate(GOLD)])
        )
    )


def test_examples_without_ids_are_told_apart_by_their_inputs(tmp_path):
    def write(path, run):
        order = np.random.default_rng(run).permutation(N)
        table = of_run(run).iloc[order].rename(columns={"idx": "sentence"})
        table.to_csv(path, index=False)

    taken = agrees(in_folder(tmp_path, write, "seed{}.csv"))
    assert "Examples are told apart by their sentence." in taken.notes


def test_answers_that_a_metric_judges_otherwise_are_compared_without_labels(tmp_path):
    table = long_table({"prediction": np.full((3, N), "18 apples")}, ["18"] * N)
    table = table.assign(exact_match=(CODES == GOLD)[[2, 0, 1]].ravel().astype(int))
    path = store(tmp_path, table)
    assert read(path).labels is None
    runs = read(path, options=Options(metric="exact_match"))
    np.testing.assert_allclose((runs.predictions == runs.labels).mean(1), (CODES == GOLD).mean(1))
    rows = {"correct": (CODES == GOLD).astype(int)}
    runs = read(store(tmp_path, long_table(rows).drop(columns="label")))
    np.testing.assert_allclose((runs.predictions == runs.labels).mean(1), (CODES == GOLD).mean(1))


def test_scores_alone(tmp_path):
    table = pd.DataFrame({"seed": range(4), "accuracy": [0.7, 0.8, np.nan, 0.75], "f1": 0.5})
    outside = reading.read(store(tmp_path, table.assign(State="finished", Runtime=3)))
    assert outside.taken.ignored == ["f1", "State", "Runtime"] and not outside.group.example_ids
    assert outside.group.names == ["0", "1", "2", "3"]
    assert outside.group.failed.tolist() == [False, False, True, False]
    by_task = pd.DataFrame({"task": ["rte", "cola"], "seed0": [0.7, 0.5], "seed1": [0.8, 0.6]})
    outside = reading.read(store(tmp_path, by_task), options=Options(metric="cola"))
    assert outside.group.scores.tolist() == [0.5, 0.6]


def test_our_own_runs_and_results(tmp_path):
    """A folder of the run store, and of committed tables."""
    from lib.results import run_group

    name = "reference-stabilizers"
    group, runs = next(iter(run_group.read(name).items()))
    refused(f"22 groups of runs; choose one by --only group={group}", paths.results(name))
    copied = shutil.copytree(paths.results(name), tmp_path / "elsewhere" / name)
    refused(f"are read where they were made: give {paths.results(name)}", copied)
    outside = reading.read(paths.results(name), options=Options(only=(f"group={group}",)))
    assert outside.group.names == runs.names
    assert np.array_equal(outside.group.predictions, runs.predictions)
    assert np.array_equal(outside.group.labels, runs.labels)
    for run, label in enumerate(runs.names):
        folder = tmp_path / "runs" / label
        folder.mkdir(parents=True)
        arrays = {
            "logits": runs.logits[run],
            "labels": runs.labels,
            "example_ids": np.asarray(runs.example_ids, str),
        }
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array)
        (folder / "run.json").write_text("{}")
        (folder / "training_log.csv").write_text("loss\n1\n")
    outside = reading.read(tmp_path / "runs")
    assert np.array_equal(outside.group.predictions, runs.predictions)


def test_without_openpyxl_an_excel_file_is_saved_as_csv(tmp_path, monkeypatch):
    path = sheets(tmp_path / "runs.xlsx", "runs")
    agrees(path)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    refused("need the package openpyxl: pip install openpyxl, or save as CSV", path)
    agrees(store(tmp_path, wide_table()))


TABLES = {
    "lists by run": {name: CODES[s].tolist() for s, name in enumerate(NAMES)},
    "labels beside": {"labels": GOLD.tolist(), "runs": {n: c.tolist() for n, c in
                                                        zip(NAMES, CODES, strict=True)}},
    "by example": {n: dict(zip(IDS, map(int, c), strict=True))
                   for n, c in zip(NAMES, CODES, strict=True)},
}  # fmt: skip


@pytest.mark.parametrize("form", TABLES)
def test_json_by_name(form, tmp_path):
    path = text(tmp_path / "runs.json", json.dumps(TABLES[form]))
    agrees(path, gold=form == "labels beside")


def test_tables_with_comments_summaries_and_runs_in_rows(tmp_path):
    comments = "# made by eval.py\n# on the dev set\n" + wide_table().to_csv(index=False)
    assert "Its first 2 lines are comments" in agrees(store(tmp_path, comments)).notes[0]
    turned = pd.DataFrame(CODES, columns=IDS).assign(seed=[1, 2, 10])
    outside = reading.read(store(tmp_path, turned))
    assert outside.group.names == ["1", "2", "10"] and outside.group.example_ids == IDS
    assert np.array_equal(outside.group.predictions, CODES)
    assert "A row is a run (seed): ex0 … ex11 are the examples." in outside.group.notes
    array = store(tmp_path, {"arr_0": CODES})
    assert np.array_equal(read(array).predictions, CODES)
    again = pd.concat([long_table(), long_table().iloc[:N].assign(run="mean")])
    assert "called mean are no runs" in agrees(store(tmp_path, again)).notes[0]


def test_only_scores_a_folder(tmp_path):
    """What the example scripts of transformers write when nobody asks for predictions."""
    for seed, score in enumerate([0.7, 0.8, 0.9]):
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        found = {"eval_accuracy": score, "eval_loss": 0.5, "epoch": 3.0}
        (folder / "eval_results.json").write_text(json.dumps(found))
    outside = reading.read(tmp_path)
    assert outside.group.names == ["seed0", "seed1", "seed2"]
    assert outside.group.scores.tolist() == [0.7, 0.8, 0.9]
    assert outside.taken.ignored == ["eval_loss", "epoch"]
    (tmp_path / "seed1" / "predictions.npz").write_bytes(b"no")
    notes = reading.read(tmp_path).group.notes
    assert any("predictions.npz: " in note for note in notes), "not silent about these"


def test_scores_in_per_cent_and_with_rows_that_are_no_runs(tmp_path):
    rows = "seed,accuracy\n1,70.5%\n2,71%\nmean,70.75%\nStd,0.35%\n"
    outside = reading.read(store(tmp_path, rows))
    assert outside.group.scores.tolist() == [70.5, 71] and outside.group.names == ["1", "2"]
    assert "Rows that are called mean, Std are no runs, and were left out." in outside.group.notes
    rows = "seed,lr,accuracy\n1,a,70\n2,a,71\n1,b,60\n2,b,61\n"
    refused("seed 1 occurs again … --only … --repeat … --run", store(tmp_path, rows))
    only = reading.read(store(tmp_path, rows), options=Options(only=("lr=b",)))
    assert only.group.scores.tolist() == [60, 61]
    history = "seed,step,accuracy\n1,10,70\n1,20,71\n2,10,60\n2,20,61\n"
    refused("column 'step' has 2 values … --only step=10", store(tmp_path, history))
    only = reading.read(store(tmp_path, history), options=Options(only=("step=20",)))
    assert only.group.scores.tolist() == [71, 61]
    refused(
        "no column is known as predictions", store(tmp_path, "text,label,score\na,x,1\nb,y,0\n")
    )


@pytest.mark.parametrize("column", ["p_entailment", "prob_neutral", "probability_neutral"])
def test_a_probability_of_one_of_two_classes(column, tmp_path):
    """Beside the decision, too; a class is the same whichever column it is."""
    shares = PROBABILITIES[..., 0].round(3)
    columns = {column: shares, "predicted": WORDS[(shares < 0.5).astype(int)]}
    table = long_table(columns, WORDS[GOLD % 2])
    outside = reading.read(store(tmp_path, table))
    assert outside.group.classes == ["entailment", "neutral"]
    chance = outside.group.probabilities[..., int("neutral" in column)]
    np.testing.assert_allclose(chance, shares)
    assert outside.taken.ignored == ["predicted"]
    per_cent = reading.read(store(tmp_path, table.assign(**{column: 100 * table[column]})))
    np.testing.assert_allclose(per_cent.group.probabilities, outside.group.probabilities)
    assert any("divided by 100" in note for note in per_cent.group.notes)


def test_percentages_of_class_1_are_no_logits(tmp_path):
    runs = read(store(tmp_path, wide_table(100 * PROBABILITIES[..., 1], GOLD % 2)))
    np.testing.assert_allclose(runs.probabilities[..., 1], PROBABILITIES[..., 1])


def test_names_in_capitals_and_ends_of_lines_of_old(tmp_path):
    folder = flat(tmp_path)
    (folder / "seed2_preds.csv").rename(folder / "seed2_preds.CSV")
    first = folder / "seed1_preds.csv"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r"))
    beside(folder, "notes.md", "# Runs")
    assert "Passed over: notes.md." in agrees(folder).notes


def test_answers_that_occur_once_are_no_header(tmp_path):
    for seed in range(2):
        text(tmp_path / f"seed{seed}.txt", f"only {seed}\nhere\nhere\n")
    assert len(read(tmp_path).example_ids) == 3
    commas = in_folder(tmp_path / "c", lambda p, r: text(p, f"a, b {r}\nc\n"), "seed{}.txt")
    refused("row 2 has 1 cells, the first 2 … of free text, a JSON list of answers", commas)
    lists = in_folder(
        tmp_path / "j", lambda p, r: p.write_text(json.dumps([f"a, {r}", "c"])), "seed{}.json"
    )
    assert len(read(lists).example_ids) == 2


@pytest.mark.parametrize("column", ["eval_seed", "time"])
def test_evaluations_of_one_run_are_told_apart(column, tmp_path):
    tables = [long_table({"prediction": (CODES + again) % 3}) for again in range(2)]
    table = pd.concat([t.assign(**{column: again}) for again, t in enumerate(tables)])
    wish = Options(repeat="time") if column == "time" else Options()
    outside = reading.read(store(tmp_path, table), options=wish)
    assert outside.group.names[:2] == [f"seed1 {column} 0", f"seed1 {column} 1"]
    assert set(outside.taken.repeats.values()) == set(NAMES) and outside.taken.ignored == []
    assert "3 runs, evaluated 6 times in all" in outside.group.source
    scores = table.groupby(["run", column])["prediction"].mean().rename("accuracy").reset_index()
    outside = reading.read(store(tmp_path, scores), options=wish)
    assert len(outside.group) == 6 and len(set(outside.taken.repeats.values())) == 3


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


def unfinished_log(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", "{}")
    return path


def sheets(path, *names):
    with pd.ExcelWriter(path) as writer:
        for name in names:
            wide_table().to_excel(writer, sheet_name=name, index=False)
    return path


def checkpoints(path):
    for name, step in itertools.product(NAMES, (5, 10)):
        (path / name / f"checkpoint-{step}").mkdir(parents=True)
        save(wide_table()[["example", "label", name]].rename(columns={name: "prediction"}),
             path / name / f"checkpoint-{step}" / "out.csv")  # fmt: skip
    return path


RTE = "index\tprediction\n0\t1\n1\t0\n"


def both_rates(path):
    for rate in ("lr1", "lr2"):
        trainer_folder(path / rate)
    return path


def flat(path):
    return in_folder(path, lambda p, r: of_run(r).to_csv(p, index=False), "seed{}_preds.csv")


def also_mnli(path, _):
    path.write_text(RTE)


#: A scale of rows from one to another: the first run is in shares, the others in per cent.
PER_CENT = ((1, 0, N), (100, N, 3 * N))
RIGHT = {"logits": LOGITS, "labels": GOLD, "runs": NAMES, "examples": IDS}


def option(**columns):
    return {"options": Options(**columns)}


#: What is stored; the words of the message, with … between those that stand apart; and what obeys
#: it: what is said to ``read``, or what is stored instead.
BAD_PATHS = [
    (lambda p: store(p, wide_table()).with_name("run.csv"), "no such … did you mean runs.csv?",
     wide_table()),
    (lambda p: text(p / "runs.pkl", "{}"), "'.pkl' … may be a pickle … by np.savez", RIGHT),
    (lambda p: text(p / "runs.zip", "PK"), "'.zip' cannot be read; unpack it, and give the folder",
     trainer_of()),
    (lambda p: text(p / "runs.json", "{}"),
     "cannot be read as .json … no rows in it … a list of records, or columns by name",
     lambda p: text(p / "runs.json", wide_table().to_json(orient="records"))),
    (lambda p: text(p / "runs.json", "[]"), "no list of rows in it … as a list of records",
     lambda p: text(p / "runs.json", wide_table().to_json(orient="records"))),
    (lambda p: unfinished_log(p / "log.eval"), "no samples in it: the evaluation did not finish",
     lambda p: in_folder(p, inspect_log, "2025-01-01T0{0}_t_x.eval")),
    (lambda p: sheets(p / "runs.xlsx", "notes", "runs"),
     "has several sheets (notes, runs); save the one that is meant as CSV", wide_table()),
    (lambda p: p, "no file in it could be read as a run: give one of .csv", trainer_of()),
    (lambda p: text(p / "seed1.pt", "PK").parent, "read as a run: it may be a pickle … np.savez",
     trainer_of()),
    (lambda p: trainer_folder(p) / "seed1", "1 run (predictions) … two or more", trainer_of()),
    (lambda p: trainer_folder(p, LOGITS[:1], ["seed1"]), "1 run (seed1) … two or more",
     trainer_of()),
    (lambda p: both_rates(p), "lr1 has 3 files of one kind (lr1/seed1 … --file … give … lr1",
     lambda p: both_rates(p) / "lr1"),
    ("s1,s2\n1,0\n", "1 example; … two or more", "s1,s2\n1,0\n0,0\n"),
    (lambda p: text(p / "a.txt", "x,y\ny,x\nx\n"), "a.txt: row 3 has 1 cells, the first 2; write",
     lambda p: text(p / "a.txt", "x,y\ny,x\nx,x\n")),
    (lambda p: text(p / "a.txt", "x,y,x\ny,x,y\n,y,y"), "run 'run0', example '2': '' is missing",
     lambda p: text(p / "a.txt", "x,y,x\ny,x,y\nx,y,y")),
    (lambda p: text(p / "a.txt", ""), "a.txt: is empty; write a header, and a row for each",
     lambda p: text(p / "a.txt", "s1,s2\nx,y\ny,y\n")),
    (lambda p: text(p / "a.txt", "x\ny\nx\n"), "a.txt: 1 run; … a file or a folder for each run",
     lambda p: (text(text(p / "seed1.txt", "x\ny\nx\n").with_name("seed2.txt"),
        "x\ny\ny\n").parent)),
]  # fmt: skip

BAD_TABLES = [
    ("", "runs.csv: is empty", wide_table()),
    ("Results\nall fine, mostly\n", "no column is known as predictions of a run among",
     wide_table()),
    (lambda p: cut(save(wide_table(), p / "runs.parquet")), "cannot be read as .parquet … again",
     wide_table()),
    (long_table().rename(columns={"run": "who"}), "1 run; … --run", option(run="who")),
    (long_table().rename(columns={"prediction": "said"}), "'said' … --prediction COLUMN",
     option(prediction="said")),
    (wide_table().rename(columns=dict(zip(NAMES, "abc", strict=True))), "--runs 'PATTERN'",
     option(runs="a,b,c")),
    (long_table().replace({"run": {"seed10": ""}}), "row 1 names no run … fill in column 'run'",
     long_table()),
    (long_table().replace({"example": {"ex3": ""}}), "row 4 has no example id in column 'example'",
     long_table()),
    (long_table().drop(index=[4, 7]), "run 'seed10' lacks 2 of 12 examples, first: ex4 … exclude",
     {"exclude": ["seed10"]}),
    (pd.concat([long_table(), long_table().iloc[[14]]]),
     "run 'seed1' … example 'ex2' is in its rows 3, 4; … one row a run and example … --example",
     long_table()),
    (long_table().assign(example="x", nr=IDS * 3), "is in its rows 1, 2, 3; … --example",
     option(example="nr")),
    (pd.concat([long_table().assign(time=t) for t in "ab"]), "rows 1, 2; … --repeat",
     option(repeat="time")),
    ("a,b,split\nx,x,x\ny,x,x\nx,y,y\n", "column 'split' has 2 values (x, y) … --only split=x",
     option(only=("split=x",), runs="a,b")),
    (wide_table(changed(WORDS[CODES], (1, 3), ""), WORDS[GOLD]),
     "run 'seed2', example 'ex3': '' is missing: … or leave the example out of every run",
     wide_table(WORDS[CODES], WORDS[GOLD]).drop(index=3)),
    (wide_table(changed(SCORES, (0, 1), np.inf)),
     "run 'seed1', example 'ex1': inf … exclude seed1", {"exclude": ["seed1"]}),
    (long_table(scores("prob", LOGITS)), "run 'seed1', example 'ex0' … sum 1 … if they are logits",
     long_table(scores("logit", LOGITS))),
    (long_table().assign(label=[*GOLD, *GOLD, *(GOLD + 1) % 3]),
     "run 'seed2' … label of example 'ex0' is 1, in run 'seed1' 0 … give the same labels",
     long_table()),
    (wide_table(labels=["", *GOLD[1:]]), "example 'ex0': label nan is missing … leave all labels",
     wide_table().drop(columns="label")),
    (long_table(scores("logit", LOGITS), labels=GOLD + 1),
     "label: example 'ex2': label 3 is not a column of logits, 0 to 2: renumber",
     long_table(scores("logit", LOGITS))),
    (long_table({"logit_0": CODES, "logit_2": CODES}),
     "column 'logit_1' is not there, but 'logit_2' is; give one for each class from 0",
     long_table({"logit_0": CODES, "logit_1": 1 - CODES, "logit_2": CODES})),
    (wide_table(SCORES, WORDS[GOLD]), "label 'neutral' is no number … give numbers",
     wide_table(SCORES, SCORES[0])),
    (wide_table(WORDS[CODES]).assign(tag=WORDS[GOLD]), "no class in common … --label",
     option(label="tag")),
    (pd.concat([long_table(scores("prob", k * PROBABILITIES))[a:b] for k, a, b in PER_CENT]),
     "the rows of run 'seed1' add up to 100: write all runs alike",
     long_table(scores("prob", PROBABILITIES))),
    (wide_table(np.array([[1], [100], [1]]) * PROBABILITIES[..., 1], GOLD % 2),
     "the numbers of run 'seed2' go up to … percentages? Write them alike",
     wide_table(PROBABILITIES[..., 1], GOLD % 2)),
    (long_table({"p_1": LOGITS[..., 0]}, GOLD % 2),
     "is no probability; if it is a logit, call it so",
     long_table({"logit": LOGITS[..., 0]}, GOLD % 2)),
    (long_table({"prediction": PROBABILITIES[..., 0]}, WORDS[GOLD % 2]),
     "is no number … a column of probabilities prob_CLASS",
     long_table({f"prob_{WORDS[0]}": PROBABILITIES[..., 0]}, WORDS[GOLD % 2])),
    ("s1,s2,s1\nx,y,x\n", "column 's1' occurs twice; … a header, if the first row is none",
     "a1,a2,a3\ns1,s2,s1\nx,y,x\n"),
    ("s1,s2,label\nx,x,x\ny,x,x\n", "all labels are 'x'; … leave the labels out",
     "s1,s2\nx,x\ny,x\n"),
    ("s1,s2,label,s3\nx,x,x,X\ny,x,y,X\nx,y,y,Y\n", "run s3 predicts … or exclude it",
     {"exclude": ["s3"]}),
    (wide_table().rename(columns={"label": "seed1"}), "column 'seed1' occurs twice", wide_table()),
    (wide_table().assign(model1=CODES[0], model2=CODES[1]),
     "several sets of columns could be runs (seed10, … model1, … choose one by --runs 'seed*'",
     option(runs="seed*")),
    (wide_table(), "--runs x* fits 0 of the columns example, label, … or names",
     option(runs="seed1,seed2"), option(runs="x*")),
    (wide_table(), "no column 'golden' for --label: … label", option(label="label"),
     option(label="golden")),
    (pd.concat([long_table().assign(task=t) for t in "ab"]),
     "column 'task' has 2 values (a, b), and runs of different settings … --only task=a",
     option(only=("task=a",))),
    (long_table().assign(task="a"), "no row has task 'b'; there are a", option(only=("task=a",)),
     option(only=("task=b",))),
    (long_table(), "no column 'taks': ", {}, option(only=("taks=b",))),
    (pd.DataFrame({"rte": [0.7, 0.8], "cola": [0.5, 0.6]}), "look like scores … --metric rte",
     option(metric="rte")),
    (pd.DataFrame({"seed": [1, 2], "t1": [0.7, 0.8], "t2": [0.5, 0.6]}),
     "column 'seed' names a run a row, so t1, t2, … are no runs: … --metric t1",
     option(metric="t1")),
    (pd.DataFrame({"model": ["a", "b"], "accuracy": ["85.2 ± 0.3", "86 ± 1"]}),
     "means of runs already: give the score of each run",
     pd.DataFrame({"seed": [1, 2], "accuracy": [85.1, 85.3]})),
]  # fmt: skip

BAD_ARRAYS = [
    (lambda p: text(p / "runs.npz", ""), "runs.npz: is empty; save it again", RIGHT),
    (lambda p: cut(store(p, {"logits": LOGITS})), "runs.npz … damaged (BadZipFile)", RIGHT),
    (lambda p: text(p / "runs.npz", pickle.dumps({"logits": [1]})),
     "runs.npz … unpickled … pickles are not opened", RIGHT),
    ({"logits": np.array([LOGITS[0], LOGITS[1, :2], None], object)},
     "array 'logits' holds Python objects … unpickled … save numbers or text", RIGHT),
    ({"logit": LOGITS, "x": LOGITS}, "has arrays logit, x; save one that is called logits or prob",
     RIGHT),
    (RIGHT | {"labels": GOLD[1:]}, "labels has shape (11,), expected (12,)", RIGHT),
    ({"logits": LOGITS, "runs": ["a", "b", "a"]}, "two runs are called 'a'",
     {"logits": LOGITS, "runs": ["a", "b", "c"]}),
    (RIGHT | {"representations": STATES[:, :, 1:]},
     "representations has shape (3, 2, 11, 4), expected (3, L, 12, D)",
     RIGHT | {"representations": STATES}),
    (RIGHT | {"logits": changed(LOGITS, (1, 4), np.nan)},
     "run 'seed2', example 'ex4' … diverged … exclude seed2", {"exclude": ["seed2"]}),
    ({"predictions": CODES, "label_ids": GOLD}, "this is one run, … give the folder", trainer_of()),
    ({"predictions": CODES + 1j}, "predictions holds complex128; save numbers or text", RIGHT),
    ({"predictions": CODES.astype("M8[D]")}, "predictions holds datetime64[D]", RIGHT),
    ({"predictions": np.int64(3)}, "predictions has shape (), expected (S, N)", RIGHT),
    ({"predictions": CODES[:, :0]}, "predictions has shape (3, 0): there is nothing in it", RIGHT),
]  # fmt: skip

BAD_FOLDERS = [
    (trainer_of(label_ids=[None] * 3), "'label_ids' holds Python objects (None … leave it out",
     trainer_of(label_ids=None)),
    (trainer_of(np.zeros((3, N, 5, 2))), "predictions has shape (12, 5, 2): several outputs",
     trainer_of()),
    (trainer_of(np.stack([LOGITS, LOGITS], 1)), "several outputs … predictions=out.predictions[0]",
     trainer_of()),
    (trainer_of(np.zeros((3, N, 8), int)), "whole numbers: tokens? Save the … or the logits",
     trainer_of()),
    (trainer_of(label_ids=np.zeros((3, N, 3))), "several labels an example … a file for each",
     trainer_of()),
    (trainer_of([LOGITS[0], LOGITS[1][:, :2], LOGITS[2]]),
     "run 'seed2' has logits of shape ('N', 2) … run 'seed1' has logits of shape ('N', 3)",
     trainer_of()),
    (trainer_of(label_ids=[GOLD, GOLD, GOLD[::-1]]),
     "run 'seed10': the label of example '1' is 2, in run 'seed1' 0 … in the same order",
     trainer_of()),
    (trainer_of(label_ids=[[-1] * N] * 3), "label -1 is not a column … leave the labels out",
     trainer_of(label_ids=None)),
    (trainer_of(label_ids=[GOLD, [*GOLD, 0], GOLD]), "seed2/predictions.npz: labels has shape (13",
     trainer_of()),
    (trainer_of([LOGITS[0], np.concatenate([LOGITS[1], LOGITS[1][:2]]), LOGITS[2]],
                label_ids=[GOLD, [*GOLD, 0, 1], GOLD]),
     "run 'seed2' has 2 rows more than the others (14, 12): padding … Save the same 12 examples",
     trainer_of()),
    (trainer_of(hidden_states=[STATES[0], STATES[1][:1], STATES[2]]),
     "run 'seed2' has … and 1 layers of states … run 'seed1' has … and 2 layers of states",
     trainer_of(hidden_states=STATES)),
    (lambda p: beside(trainer_folder(p, LOGITS[:1], ["seed1"]), f"seed2/{RESULTS}", RTE),
     f"seed2/{RESULTS} is not called as the other 1 are (predictions.npz): rename it",
     trainer_of()),
    (lambda p: beside(flat(p), "ensemble_preds.csv", of_run(0).to_csv(index=False)),
     "ensemble_preds.csv is not called as the other 3 are (seed#_preds.csv): rename it if it is a "
     "run; else take it out, or choose by --file 'seed[0-9]*_preds.csv'",
     {"file": "seed[0-9]*_preds.csv"}),
    (lambda p: beside(flat(p), "seed3_preds.dat", "PK"),
     "seed3_preds.dat: is called as the runs are, but not of their kind (seed#_preds.csv): save",
     {"file": "*.csv"}),
    (lambda p: beside(flat(p), "seed3_preds.csv.bak", ""), "called as the runs are … take it out",
     lambda p: flat(p)),
    (lambda p: beside(flat(p), "seed3_preds.csv", "seed,accuracy\n1,0.5\n2,0.7\n"),
     "seed3_preds.csv: holds something else than the file of the first run; take it out … --file",
     {"file": "seed[12]*"}),
    (lambda p: in_folder(text_folder(p, CODES), also_mnli, "seed{}/predict_results_mnli.txt"),
     "each run has several files of predictions (predict_results_mnli.txt, predict_results",
     {"file": "predict_results_rte.txt"}),
    (lambda p: checkpoints(p), "seed1 has 2 files of one kind … --file '*checkpoint-10/out.csv'",
     {"file": "*checkpoint-10/out.csv"}),
]  # fmt: skip


def refused(words, path, **options):
    with pytest.raises(OutsideError) as caught:
        read(path, **options)
    for part in words.split(" … "):
        assert part in str(caught.value), str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", [*BAD_PATHS, *BAD_TABLES, *BAD_ARRAYS, *BAD_FOLDERS])
def test_bad_input_is_named_and_what_obeys_the_message_is_read(case, tmp_path):
    content, words, obeyed, *how = case
    first, second = tmp_path / "bad", tmp_path / "obeyed"
    first.mkdir(), second.mkdir()
    path = store(first, content)
    assert str(tmp_path) in refused(words, path, **(how[0] if how else {}))
    said = isinstance(obeyed, dict) and obeyed.keys() <= {"options", "exclude", "file"}
    assert len(read(path, **obeyed) if said else read(store(second, obeyed))) >= 2


@pytest.mark.parametrize(
    ("content", "words", "obeyed"),
    [
        (lambda p: p / "gold.csv", "gold.csv: no such file", pd.DataFrame({"label": GOLD})),
        (
            pd.DataFrame({"said": GOLD, "x": 1}),
            "no column is known as labels among said, x … --label",
            option(label="said"),
        ),
        (
            pd.DataFrame({"label": GOLD[1:]}),
            "11 labels, but 12 examples … give one each",
            pd.DataFrame({"label": GOLD}),
        ),
        (
            pd.DataFrame({"example": IDS[1:], "label": GOLD[1:]}),
            "runs.csv lacks 1 of 12 examples, first: ex0 … ids as in",
            pd.DataFrame({"example": IDS, "label": GOLD}),
        ),
        (
            "5,1\n1,2\n" * 6,
            "2 columns without a header; give one",
            "example,label\n" + "".join(f"{i},{g}\n" for i, g in zip(IDS, GOLD, strict=True)),
        ),
        (
            lambda p: text(p / "gold.npy", pickle.dumps([0] * N)),
            "gold.npy: … pickles are not opened",
            lambda p: (np.save(p / "gold.npy", GOLD), p / "gold.npy")[1],
        ),
    ],
)
def test_bad_labels_are_named_and_what_obeys_the_message_is_read(content, words, obeyed, tmp_path):
    path = save(wide_table().drop(columns="label"), tmp_path / "wide.csv")
    gold = store(tmp_path, content)
    refused(words, path, labels=gold)
    said = obeyed if isinstance(obeyed, dict) else {"labels": store(tmp_path, obeyed)}
    assert np.array_equal(read(path, **({"labels": gold} | said)).labels, GOLD)


def test_labels_given_twice_must_agree_and_a_run_to_exclude_must_be_there(tmp_path):
    path = store(tmp_path, wide_table())
    np.save(tmp_path / "gold.npy", [*GOLD[:-1], 0])
    words = "gold.npy: the label of example 'ex11' is 0, in … runs.csv 2"
    refused(words, path, labels=tmp_path / "gold.npy")
    refused("no run 'seed3' to exclude: did you mean seed", path, exclude=["seed3"])
    refused("1 run (seed10)", path, exclude=["seed1", "seed2"])
