"""Free text in the report: every form in which people have it, and what is said of it."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats

from lib import measures, paths, report
from lib.report import comparing, reading
from lib.report.interpret import interpret
from lib.report.measuring import measure_runs
from lib.report.opening import OutsideError

N, S = 24, 4
BOATS = ["Heron", "Little Owl", "Juniper", "Sea Holly"]
PLACES = ["by the harbour", "in the bay", "off the island"]


def written(run, row, decoding=0):
    """An invented text; runs differ on two rows in three."""
    draw = np.random.default_rng([row, *((run, decoding) if row % 3 else (0, 0))])
    what = draw.choice(["is a ferry", "is a small ferry", "sails every day"])
    return f"{BOATS[row % 4]} number {row} {what} {draw.choice(PLACES)}."


TEXTS = {f"seed{run}": [written(run, row) for row in range(N)] for run in range(S)}
REFERENCES = [f"{BOATS[row % 4]} number {row} is a ferry in the bay." for row in range(N)]
OTHERS = [text.replace("in the bay", "off the island") for text in REFERENCES]


def wide(folder, **more):
    table = pd.DataFrame({"example": range(N), "reference": REFERENCES} | TEXTS | more)
    table.to_csv(folder / "runs.csv", index=False)
    return folder / "runs.csv"


def lines(folder, rows):
    """JSON lines as people write them, with what is not ASCII as it is."""
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "runs.jsonl").write_text(text, encoding="utf-8")
    return folder / "runs.jsonl"


def long(folder, references="reference", own=REFERENCES):
    return lines(folder, [
        {"seed": run, "id": f"ex{row}", "prediction": text, references: own[row]}
        for run, texts in TEXTS.items() for row, text in enumerate(texts)
    ])  # fmt: skip


def of_trainer(folder, texts=TEXTS):
    """What run_summarization.py and run_translation.py leave: a text a line, and scores."""
    for run, own in texts.items():
        (folder / "out" / run).mkdir(parents=True)
        (folder / "out" / run / "generated_predictions.txt").write_text("\n".join(own) + "\n")
        (folder / "out" / run / "predict_results.json").write_text('{"predict_rougeL": 40.1}')
    return folder / "out"


def read(path, **how):
    return reading.read(path, **how).group


@pytest.mark.parametrize("made", [wide, long, of_trainer])
def test_every_form_gives_the_same_texts(tmp_path, made):
    group = read(made(tmp_path))
    assert [list(own) for own in group.texts] == list(TEXTS.values())
    assert "free text" in group.source and any("--task classification" in n for n in group.notes)
    assert not group.classes and group.labels is None
    pairs = measures.pairwise_disagreement(group.predictions)
    assert pairs == pytest.approx(measures.pairwise_different(list(TEXTS.values())))


def test_references_stand_in_a_file_of_their_own(tmp_path):
    (tmp_path / "references.txt").write_text("\n".join(REFERENCES))
    group = read(of_trainer(tmp_path), labels=tmp_path / "references.txt")
    assert group.references == [[text] for text in REFERENCES]


@pytest.mark.parametrize("made", [wide, long])
def test_values_are_those_of_the_measures(tmp_path, made):
    measured = measure_runs(read(made(tmp_path)))
    table, texts = measured.table.set_index("measure"), list(TEXTS.values())
    for name in ("different", "edit_distance", "rouge_distance", "bleu_distance"):
        expected = measures.instability(getattr(measures, f"pairwise_{name}")(texts))
        assert tuple(table.loc[name, ["value", "low", "high"]]) == pytest.approx(expected[:3])
    rouge = RougeScorer(["rougeL"])
    scores = [
        np.mean(
            [rouge.score(*pair)["rougeL"].fmeasure for pair in zip(REFERENCES, own, strict=True)]
        )
        for own in texts
    ]
    assert measured.metric == "rouge_l" and measured.group.scores == pytest.approx(scores)
    assert table.loc["sd", "value"] == pytest.approx(np.std(scores, ddof=1))
    assert not {"failed", "kappa", "difference", "disagreement"} & set(table.index)


def test_of_several_references_the_best_counts(tmp_path):
    both = [list(pair) for pair in zip(REFERENCES, OTHERS, strict=True)]
    path = long(tmp_path, "references", both)
    group = read(path)
    assert group.references == both and any("24 examples have several" in n for n in group.notes)
    one, other = (
        measure_runs(read(long(tmp_path, "references", own)), metric="exact").group.example_scores(
            "exact"
        )
        for own in (REFERENCES, OTHERS)
    )
    found = measure_runs(group, metric="exact").group.scores
    np.testing.assert_array_equal(found, np.maximum(one, other).mean(1))
    assert other.sum() > 0  # and each is the best of some


def test_a_csv_holds_lists_of_references_too(tmp_path):
    both = [json.dumps(pair) for pair in zip(REFERENCES, OTHERS, strict=True)]
    assert read(wide(tmp_path, reference=both)).references[3] == [REFERENCES[3], OTHERS[3]]


def test_an_empty_text_is_a_text_and_keeps_its_line(tmp_path):
    texts = {run: ["", *own[1:5], "", *own[6:]] for run, own in TEXTS.items()}
    texts["seed1"] = TEXTS["seed1"]
    group = read(of_trainer(tmp_path, texts))
    assert [list(own) for own in group.texts] == list(texts.values())
    assert "6 texts are empty (seed0, seed2, seed3): they count as texts." in group.notes


def test_json_lines_end_where_json_says(tmp_path):
    """A line separator or a vertical tab inside a text ends no row."""
    odd = "Heron lies\u2028by the\x0bharbour, number {}."
    rows = [
        {"seed": run, "id": row, "prediction": odd.format(run * (row % 2) + row)}
        for run in range(2) for row in range(6)
    ]  # fmt: skip
    group = read(lines(tmp_path, rows))
    assert group.texts[1][2] == odd.format(2) and len(group.example_ids) == 6


def test_texts_of_tables_may_hold_commas_quotes_and_ends_of_lines(tmp_path):
    odd = [f'"Heron", they say,\nis boat {row} of the bay.' for row in range(N)]
    assert read(wide(tmp_path, seed0=odd)).texts[0] == odd


@pytest.mark.parametrize(
    "classes",
    [["not entailment at all", "entailed by the premise"], ["World news of today", "Sports", "B"]],
)
def test_names_of_classes_are_no_texts(tmp_path, classes):
    draw = np.random.default_rng(0)
    runs = {f"seed{run}": draw.choice(classes, N) for run in range(S)}
    pd.DataFrame({"label": draw.choice(classes, N)} | runs).to_csv(tmp_path / "t.csv")
    assert len(read(tmp_path / "t.csv").classes) == len(classes)


def test_the_user_decides(tmp_path):
    answers = pd.DataFrame(
        {"id": range(4), "seed0": ["Paris", "4", "a", "b"], "seed1": ["Paris", "5", "a", "c"]}
    )
    answers.to_csv(tmp_path / "short.csv", index=False)
    assert read(tmp_path / "short.csv").classes
    assert read(tmp_path / "short.csv", task="generation").texts[1] == ["Paris", "5", "a", "c"]
    (tmp_path / "more").mkdir()
    prose = pd.DataFrame({"id": range(N)} | TEXTS)
    prose.to_csv(tmp_path / "prose.csv", index=False)
    assert read(tmp_path / "prose.csv", task="classification").classes


def test_lines_of_answers_of_all_runs_stay_answers(tmp_path):
    """Words parted by commas or by white space, as published answers of a hundred models are."""
    draw = np.random.default_rng(0)
    rows = draw.choice(["neutral", "entailment", "contradiction"], (N, 9))
    for mark in (", ", " ", ","):
        (tmp_path / "all.txt").write_text("\n".join(mark.join(row) for row in rows))
        assert len(read(tmp_path / "all.txt")) == 9
    (tmp_path / "all.txt").write_text(
        "\n".join([*(", ".join(row) for row in rows), "neutral, neutral"])
    )
    with pytest.raises(OutsideError, match="row 25 has 2 cells"):
        read(tmp_path / "all.txt")


def test_decoding_stands_beside_training(tmp_path):
    rows = [
        {"seed": run, "decoding_seed": k, "id": row, "text": "in", "output": written(run, row, k),
         "reference": REFERENCES[row]}
        for run in range(S) for k in range(3) for row in range(N)
    ]  # fmt: skip
    found = reading.read(lines(tmp_path, rows))
    measured = measure_runs(found.group, repeats=found.taken.repeats)
    each = [[[written(run, row, k) for row in range(N)] for k in range(3)] for run in range(S)]
    within = np.mean([measures.pairwise_different(own)[np.triu_indices(3, 1)] for own in each])
    assert measured.within == pytest.approx(within) and within > 0
    assert [list(own) for own in measured.group.texts] == list(TEXTS.values())
    said = " ".join(interpret(measured))
    assert f"Two evaluations of one run write different texts for {100 * within:.1f} %" in said
    assert "Three noises: the rouge_l" in said and "with the choice of test examples" in said


def test_examples_name_two_texts_that_are_farthest_apart(tmp_path):
    odd = TEXTS["seed2"].copy()
    odd[7] = "Nothing of the kind was ever seen!"
    measured = measure_runs(read(wide(tmp_path, seed2=odd)))
    first = measured.examples.iloc[0]
    assert str(first["example"]) == "7" and odd[7] in (first["a_text"], first["another_text"])
    by_run = [[own[7]] for own in {**TEXTS, "seed2": odd}.values()]
    apart = measures.pairwise_edit_distance(by_run)[np.triu_indices(S, 1)]
    assert first["edit_distance"] == pytest.approx(apart.mean())


def test_the_page_shows_texts_and_cuts_long_ones(tmp_path):
    odd = TEXTS["seed2"].copy()
    odd[7] = "Heron & <b>Juniper</b> " * 100
    page = report.write(measure_runs(read(wide(tmp_path, seed2=odd))), tmp_path / "out").read_text()
    assert "Heron &amp; &lt;b&gt;Juniper" in page and "<b>Juniper" not in page
    assert page.count("Heron &amp; &lt;b&gt;") < 20
    assert "inputs for which two runs write different texts" in page and "flip rate" not in page
    assert odd[7].strip() in pd.read_csv(tmp_path / "out" / "examples.csv").to_numpy()


def test_two_settings_are_tested_over_seeds_and_inputs(tmp_path):
    (tmp_path / "b").mkdir()
    worse = {run: [text.replace("is a", "was") for text in own] for run, own in TEXTS.items()}
    a, b = read(wide(tmp_path)), read(wide(tmp_path / "b", **worse))
    found = comparing.compare(a, b, paired=False)
    scores = [measures.text_scores(group.texts, a.references) for group in (a, b)]
    by_run = [own.mean(1) for own in scores]
    row = found.table.loc["mean"]
    assert row["value"] == pytest.approx(by_run[1].mean() - by_run[0].mean())
    assert row["p"] == pytest.approx(stats.ttest_ind(*by_run, equal_var=False).pvalue)
    by_input = scores[1].mean(0) - scores[0].mean(0)
    noise = sum(own.var(0, ddof=1).sum() for own in scores) / S / N**2
    assert row["variance_examples"] == pytest.approx(max(0, by_input.var(ddof=1) / N - noise))
    both = measures.pairwise_different([*TEXTS.values(), *worse.values()])
    within = [both[:S, :S], both[S:, S:]]
    mean = [own[np.triu_indices(S, 1)].mean() for own in within]
    row = found.table.loc["disagreement"]
    assert list(row[["first", "second"]]) == pytest.approx(mean)


def test_two_settings_have_to_be_of_one_kind_with_the_same_references(tmp_path):
    (tmp_path / "b").mkdir()
    a = read(wide(tmp_path))
    with pytest.raises(OutsideError, match="label of example '3'"):
        comparing.compare(a, read(wide(tmp_path / "b", reference=[*REFERENCES[:3], *OTHERS[3:]])))
    pd.DataFrame({"example": range(N)} | TEXTS).to_csv(tmp_path / "bare.csv", index=False)
    texts, classes = (read(tmp_path / "bare.csv", task=task) for task in ("", "classification"))
    with pytest.raises(OutsideError, match="one of A and B is free text, the other is not"):
        comparing.compare(texts, classes)
    with pytest.raises(OutsideError, match="scores of A are rouge_l, of B none"):
        comparing.compare(a, classes)


def test_wrong_metrics_and_missing_references_are_said(tmp_path):
    with pytest.raises(OutsideError, match="does not fit texts; valid: rouge_l, chrf, exact"):
        measure_runs(read(wide(tmp_path)), metric="accuracy")
    with pytest.raises(OutsideError, match="needs references, and there are none"):
        measure_runs(read(of_trainer(tmp_path)), metric="chrf")
    with pytest.raises(OutsideError, match="label .* is missing"):
        read(wide(tmp_path, reference=["", *REFERENCES[1:]]))


def test_without_the_extra_packages_what_can_be_said_is_said(tmp_path):
    """Edit distances take packages that not everybody has."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('rapidfuzz', 'rouge_score', 'sacrebleu')));"
        f"from lib.report.command import main; main([{str(wide(tmp_path))!r}, '--format', 'json'])"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], cwd=paths.ROOT, capture_output=True, text=True
    )
    found = json.loads(made.stdout)
    assert found["metric"] == "exact" and "edit_distance" not in found["measures"]
    assert found["measures"]["different"]["value"] > 0
    assert any("pip install rapidfuzz rouge-score sacrebleu" in note for note in found["notes"])
