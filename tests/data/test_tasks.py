"""Tasks: sizes as published, splits without leakage, and a user's own table with its mistakes."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest

from lib import paths
from lib.data import assets, package_tasks, tasks
from lib.data.examples import contents_digest
from lib.errors import TaskError
from lib.measures.scoring import majority_rate

# --- packages -----------------------------------------------------------------------------------

SIZES = {  # train and dev, or, where the split is ours, both together, as their sources say
    "stsb": (5749, 1500), "stsb-binary": (5749, 1500), "boolq": (9427, 3270), "trec": (5452, 500),
    "privacyqa": 10_923, "sarcasm": 28_614, "winowhy": 2865, "strategyqa": 2290,
    "presuppositions": 735, "metaphor": 680, "vitaminc": 54_668,
}  # fmt: skip
#: Of the dev split.
MAJORITY = {
    "winowhy": 0.561, "strategyqa": 0.536, "presuppositions": 0.413, "metaphor": 0.613,
    "vitaminc": 0.499, "trec": 138 / 500,
}  # fmt: skip
PAIRS = {"stsb", "stsb-binary", "boolq", "privacyqa", "presuppositions", "metaphor", "vitaminc"}


@pytest.mark.parametrize("name", [*package_tasks.PACKAGES, *package_tasks.BIGBENCH])
def test_every_task_has_its_published_size_and_sound_rows(name):
    if name in package_tasks.BIGBENCH and not assets.folder_of("bigbench").is_dir():
        pytest.skip("BIG-bench is not in the cache; reading one of its tasks downloads 358 MB")
    task = tasks.get(name)
    splits = task.read()
    for split, rows in splits.items():
        assert all(set(row) == {"example_id", "text_a", "text_b", "label"} for row in rows), split
        assert all(row["text_a"] and bool(row["text_b"]) == (name in PAIRS) for row in rows), split
        assert len({row["example_id"] for row in rows}) == len(rows)
        labels = {row["label"] for row in rows}
        assert labels == set(range(task.n_classes)) if task.n_classes > 1 else max(labels) <= 5
    sizes = tuple(len(splits[split]) for split in ("train", "dev"))
    size = SIZES.get(name, sizes)
    assert size == sizes if isinstance(size, tuple) else size == sum(sizes)
    if isinstance(size, int):
        sides = [{row["text_a"].lower() for row in rows} for rows in splits.values()]
        assert not sides[0] & sides[1]
    if name in MAJORITY:
        labels = np.array([row["label"] for row in splits["dev"]])
        assert majority_rate(labels) == pytest.approx(MAJORITY[name], abs=5e-4)


def test_questions_that_differ_by_a_space_are_not_torn_apart():
    """Of 390 strings, two; how tasks of committed runs are read is in the digests of those runs."""
    rows = [row for part in tasks.get("privacyqa").read().values() for row in part]
    assert len({row["text_a"] for row in rows}) == 389


@pytest.mark.parametrize("name", ["boats", *package_tasks.TEXTS])
def test_tasks_of_texts_have_sound_rows_and_the_sizes_of_the_page(name):
    if name in package_tasks.TEXTS and not assets.folder_of("bigbench-texts").is_dir():
        pytest.skip("BIG-bench is not in the cache; reading one of its tasks downloads 358 MB")
    splits = tasks.get(name).read()
    for rows in splits.values():
        assert all(row["text_a"] and all(row["targets"]) and row["label"] == 0 for row in rows)
        assert len({row["example_id"] for row in rows}) == len(rows)
    train, dev = ({row["text_a"].lower() for row in splits[part]} for part in ("train", "dev"))
    assert not train & dev and len(dev) == len(splits["dev"])
    assert {len(row["targets"]) for row in splits["train"]} == {1}
    page = (paths.ROOT / "docs/tasks.md").read_text()
    mean = np.mean([len(row["targets"]) for row in splits["dev"]])
    each = f"{mean:.1f} on average" if mean % 1 else f"{mean:.0f}"
    sizes = f"{len(splits['train']):,} / {len(splits['dev']):,}"
    assert re.search(rf"\| `{name}` \| .* \| {sizes} \| {each} \|", page)


# --- BIG-bench ----------------------------------------------------------------------------------

#: By task, its folder, the input of example i ({0} is i // 2), its answers in the order of their
#: classes, and the texts of example 5.
FORMS = {
    "winowhy": (
        "winowhy", "House {0} was too dark for us. The 'us' refers to cats since {1}.",
        ("incorrect", "correct"),
        ("House 2 was too dark for us. The 'us' refers to cats since 5.", ""),
    ),
    "strategyqa": (
        "strategyqa", "Could a fox carry {1} lamps?", ("No", "Yes"),
        ("Could a fox carry 5 lamps?", ""),
    ),
    "presuppositions": (
        "presuppositions_as_nli",
        "Sentence 1: Ana: stopped {1}. \nSentence 2: Ana ran.\n\nThe answer is: ",
        ("entailment", "neutral", "contradiction"), ("Ana: stopped 5.", "Ana ran."),
    ),
    "metaphor": (
        "metaphor_boolean", "Day {0} was a feather. <--> It was {1}.", ("False", "True"),
        ("Day 2 was a feather.", "It was 5."),
    ),
    "vitaminc": (
        "vitaminc_fact_verification", "Lake {0}: It has {1} boats: all red.\nClaim: It has boats.",
        ("True", "False", "Neither"), ("Lake 2: It has 5 boats: all red.", "It has boats."),
    ),
}  # fmt: skip


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """The asset ``bigbench`` with eight examples of each task; ``wrong`` alters one of metaphor."""
    monkeypatch.setattr("lib.paths.CACHE", tmp_path)

    def write(wrong=None):
        for name, (folder, form, answers, _) in FORMS.items():
            examples = [
                {
                    "input": form.format(i // 2, i),
                    "target_scores": {a: int(j == i % len(answers)) for j, a in enumerate(answers)},
                    "comment": {"example_id": str(i // 4)},
                }
                for i in range(8)
            ]
            if name == "metaphor":
                examples[3] |= wrong or {}
            path = assets.folder_of("bigbench") / assets.ASSETS["bigbench"].folder / folder
            path.mkdir(parents=True)
            (path / "task.json").write_text(json.dumps({"canary": "c", "examples": examples}))

    return write


@pytest.mark.parametrize("name", FORMS)
def test_texts_and_labels_of_each_form_and_families_are_not_torn_apart(invented, name):
    invented()
    _, _, answers, texts = FORMS[name]
    splits = tasks.get(name).read()
    rows = {int(row["example_id"]): row for part in splits.values() for row in part}
    assert (rows[5]["text_a"], rows[5]["text_b"]) == texts
    assert [rows[i]["label"] for i in range(8)] == [i % len(answers) for i in range(8)]
    assert tasks.get(name).classes == answers
    if name in ("winowhy", "metaphor", "vitaminc"):
        sides = [{int(row["example_id"]) // 2 for row in part} for part in splits.values()]
        assert not sides[0] & sides[1] and sides[0] | sides[1] == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": "no arrow here"},
        {"target_scores": {"True": 1, "False": 1}},
        {"target_scores": {"Maybe": 1}},
    ],
)
def test_an_example_of_another_form_is_named(invented, wrong):
    invented(wrong)
    with pytest.raises(TaskError, match="metaphor_boolean/task.json: example 3 is not of the form"):
        tasks.get("metaphor").read()


# --- files in the layout of GLUE ----------------------------------------------------------------


def write_glue(folder, *lines):
    folder.mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "folder", "lines", "expected"),
    [
        (
            "rte", "RTE",
            ["index\tsentence1\tsentence2\tlabel", '0\tA "quoted" cat sat.\tA cat.\tentailment',
             "1\tIt rained.\tIt was dry.\tnot_entailment"],
            [('A "quoted" cat sat.', "A cat.", 1), ("It rained.", "It was dry.", 0)],
        ),
        (
            "cola", "CoLA", ["gj04\t1\t\tThey sing.", "gj04\t0\t*\tThey sings."],
            [("They sing.", "", 1), ("They sings.", "", 0)],
        ),
        (
            "mrpc", "MRPC",
            ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t7\t8\tOne.\tThe one.",
             "0\t9\t10\tTwo.\tThree."],
            [("One.", "The one.", 1), ("Two.", "Three.", 0)],
        ),
        (
            "wnli", "WNLI",
            ["index\tsentence1\tsentence2\tlabel", "0\tIt fell.\tThe cup fell.\t1"],
            [("It fell.", "The cup fell.", 1)],
        ),
        (
            "mr", "MR", ["label\tsentence", "1\tA fine day.", "0\tA poor day."],
            [("A fine day.", "", 1), ("A poor day.", "", 0)],
        ),
    ],
)  # fmt: skip
def test_files_are_read_as_they_are_laid_out_and_before_the_hub(
    hub, tmp_path, monkeypatch, name, folder, lines, expected
):
    write_glue(tmp_path / folder, *lines)
    monkeypatch.setenv("SENTENCES_DIR" if name == "mr" else "GLUE_DIR", str(tmp_path))
    dev = tasks.get(name).read()["dev"]
    assert [(row["text_a"], row["text_b"], row["label"]) for row in dev] == expected
    assert len(tasks.get("sst2").read()["dev"]) == 6, "a task without files is read from the hub"


def test_files_that_are_missing_or_not_as_expected_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SENTENCES_DIR", str(tmp_path))
    write_glue(tmp_path / "CR", "label\tsentence", "1\tA fine day.", "2\tWho?")
    with pytest.raises(TaskError, match=r"CR/train.tsv: the label in line 3 is '2', not 0 or 1"):
        tasks.get("cr").read()
    with pytest.raises(TaskError, match="holds no SUBJ/train.tsv"):
        tasks.get("subj").read()
    monkeypatch.delenv("SENTENCES_DIR")
    with pytest.raises(TaskError, match="set SENTENCES_DIR"):
        tasks.get("mr").read()


# --- a table of one's own -----------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path):
    """Writes a table, by its columns or as bytes, and gives its path."""

    def write(content, suffix="csv"):
        path = tmp_path / f"mine.{suffix}"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif suffix == "parquet":
            # Parquet keeps an index, which numbers nothing here.
            table = pd.DataFrame(content)
            table.set_axis([f"row {i}" for i in range(len(table))]).to_parquet(path)
        else:
            path.write_text(AS_TEXT[suffix](pd.DataFrame(content)), encoding="utf-8")
        return str(path)

    return write


#: A table as text, by the suffix of its file.
AS_TEXT = {
    "csv": lambda table: table.to_csv(index=False),
    "CSV": lambda table: table.to_csv(index=False),
    "tsv": lambda table: table.to_csv(index=False, sep="\t"),
    "jsonl": lambda table: table.to_json(orient="records", lines=True),
}


@pytest.mark.parametrize("suffix", ["parquet", *AS_TEXT])
def test_own_file_of_classes_pairs_and_numbers(mine, suffix):
    numbers = range(60)
    path = mine(
        {
            "q": [f"q{i}" for i in numbers],
            "a": ["x"] * 60,
            "rate": np.linspace(0, 1, 60),
            "class": [7 * i % 12 for i in numbers],
        },
        suffix,
    )
    task = tasks.get(path, ["q", "a"], "rate")
    assert (task.n_classes, task.metric) == (1, "pearson")
    splits = task.read()
    assert all(row["text_b"] == "x" for row in splits["train"] + splits["dev"])
    assert (len(splits["train"]), len(splits["dev"])) == (48, 12)
    task = tasks.get(path, ["q"], "class")
    assert task.classes == tuple(map(str, range(12))), "in the order of their values, not of rows"
    assert (task.n_classes, task.metric) == (12, "accuracy")
    rows = [row for part in task.read().values() for row in part]
    assert all(row["label"] == 7 * int(row["example_id"]) % 12 for row in rows)
    assert not any(row["text_b"] for row in rows)


SOUND = {"text": ["a", "b", "c", "d"], "label": [0, 1, 0, 1], "split": ["train"] * 3 + ["dev"]}


@pytest.mark.parametrize(
    ("content", "columns", "message", "obeyed"),
    [
        ({}, (["txt"], "label"), "no column 'txt': did you mean text", (["text"], "label")),
        ({}, (["text"], "lable"), "no column 'lable': did you mean label", (["text"], "label")),
        (b"a,0\nb,1\nc,0\nd,1\n", (), "'text': .* in a header", {}),
        ({}, (["text", "label", "split"], "label"), "one column, or two", (["text"], "label")),
        ({"text": ["a", "  ", "c", "d"]}, (), "'text' is empty in line 3; fill it in", {}),
        ({"label": [0, None, 0, 1]}, (), "'label' is empty in line 3; fill it in", {}),
        ({"label": [1, 1, 1, 0]}, (), "has one class, '1', in training; add rows of", {}),
        ({"label": [0, 1, 0, 2]}, (), "'2' in line 5 of the dev split, .*, or train on some",
         {"label": [0, 1, 2, 2]}),
        ({"text": list("abcde"), "label": [0, 1, 0, -1, 1], "split": SOUND["split"] + ["dev"]}, (),
         "'-1' in line 5 of the dev split, .* leave such rows out",
         {"label": [0, 1, 0, 1]}),
        ({"split": ["train"] * 3 + ["later"]}, (), "'later' in line 5; valid: dev, ", {}),
        ({"split": ["train", None, "train", "dev"]}, (), "'split' is empty in line 3; valid:", {}),
        ({"split": ["train"] * 4}, (), "no rows in the dev split; call some 'dev'", {}),
        ({"split": ["train"] * 3 + ["test"]}, (), "no rows in the dev split; call some 'dev'", {}),
        (b"text,label\na,0\na,1\n", (), "no rows in the dev split; .* column 'split'",
         b"text,label,split\na,0,train\na,1,train\na,1,dev\n"),
        (b"", (), "EmptyDataError: .*; save it again, .* with a header", {}),
        (b"text,label,split\n", (), "there are no rows", {}),
        (b"text,label\na,1\nb,0,7,8\n", (), "ParserError: .*; .* as many cells in each line", {}),
        (b"text,label\ncaf\xe9\x81,1\n", (), "UnicodeDecodeError: .*; save it again, in UTF-8", {}),
        (b"text,label\na,0.5\nb,inf\n", (), "'label' is 'inf' in line 3; .* or leave the row out",
         b"text,label,split\na,0.5,train\nb,0.7,dev\n"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_own_file_mistakes_name_file_column_and_line_and_what_to_do_helps(
    mine, content, columns, message, obeyed
):
    path = mine(content if isinstance(content, bytes) else SOUND | content)
    with pytest.raises(TaskError, match=message) as error:
        tasks.get(path, *columns)
    assert "mine.csv" in str(error.value) or "one column" in message
    assert "\n" not in str(error.value)
    if isinstance(obeyed, tuple):
        columns = obeyed
    elif obeyed or isinstance(content, bytes) or content:
        mine(obeyed if isinstance(obeyed, bytes) else SOUND | obeyed)
    with warnings.catch_warnings(action="ignore"):
        assert tasks.get(path, *columns).read()["dev"]


def test_a_line_of_json_or_parquet_is_counted_without_a_header(mine):
    for suffix, line in {"jsonl": 2, "parquet": 2, "csv": 3, "CSV": 3, "tsv": 3}.items():
        with pytest.raises(TaskError, match=f"'text' is empty in line {line};"):
            tasks.get(mine(SOUND | {"text": ["a", "", "c", "d"]}, suffix))
    with pytest.raises(TaskError, match="JSONDecodeError: .* line 2 column"):
        tasks.get(mine(b'{"text": "a", "label": 0}\n{"text": "b\n', "jsonl"))


@pytest.mark.parametrize("name", ["rows.json", "rows.xlsx", "rows.csv.gz", "rows.txt"])
def test_another_kind_of_file_is_refused_with_the_kinds_that_are_read(name):
    with pytest.raises(ValueError, match=r"unknown: a table of your own ends in \.csv, \.tsv, \.j"):
        tasks.get(name)


def reading(path):
    """The classes of a table, its rows (id, texts, label), those of dev, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        task = tasks.get(path)
    splits = {name: [tuple(row.values()) for row in part] for name, part in task.read().items()}
    assert all(path in str(one.message) and one.filename == __file__ for one in caught)
    return task.classes, splits, [str(one.message) for one in caught]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8-sig", ","), ("utf-16", ","), ("utf-8", ";"), ("utf-8", "\t"), ("utf-8", "|"),
     ("utf-16", "\t"), ("utf-16-be", ","), ("cp1252", ",")],
)  # fmt: skip
def test_the_same_table_in_any_encoding_and_with_any_separator(mine, encoding, mark):
    texts = [f"caf{'é' * (i > 0)} – {i}; a, b | c" for i in range(30)]
    table = pd.DataFrame({"text": texts, "label": ["naïve" if i % 3 else "a" for i in range(30)]})
    *expected, said = reading(mine(table))
    assert not said
    content = "\ufeff" * (encoding == "utf-16-be") + table.to_csv(index=False, sep=mark)
    *read, said = reading(mine(content.encode(encoding)))
    assert read == expected and bool(said) == (encoding == "cp1252")
    if said:
        assert "line 2 is no UTF-8: read as Windows-1252; if that is wrong, save it as" in said[0]


def test_a_quote_that_nothing_closes_swallows_no_row_of_a_tsv(mine):
    texts = [f'"so {i} it goes' for i in range(20)]
    lines = [f"{text}\t{i % 2}" for i, text in enumerate(texts)]
    _, splits, _ = reading(mine("\n".join(["text\tlabel", *lines]).encode(), "tsv"))
    assert {row[1] for part in splits.values() for row in part} == {*texts}


@pytest.mark.parametrize(
    ("split", "dev", "said"),
    [
        (["train"] * 4 + ["test"] * 2 + ["validation"] * 2, "gh", "line 6 and 1 more: .* left out"),
        (["Train "] * 6 + ["VALID", "eval"], "gh", None),
        (["train"] * 6 + ["val", "dev"], "gh", None),
    ],
)
def test_names_of_splits_as_the_hub_and_others_have_them(mine, split, dev, said):
    labels = [0, 1, 0, 1, 0, 1, 0, 1]
    if said:
        labels[4:6] = [-1, -1]  # not told, as in the hub's test splits: that is no class, then
    path = mine({"text": list("abcdefgh"), "label": labels, "split": split})
    classes, splits, warned = reading(path)
    assert classes == ("0", "1")
    assert [row[:2] for row in splits["dev"]] == [(str("abcdefgh".index(t)), t) for t in dev]
    assert len(warned) == bool(said) and all(re.search(said, message) for message in warned)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["Good", "Bad"] * 19 + ["good", "Bad"],
         "is 'good' in line 40: a class beside 'Good'; .* write them alike"),
        (["a b", "c"] * 18 + ["a  b"] * 4, "is 'a  b' in line 38 and 3 more: .* beside 'a b'"),
        ([0, 1] * 16 + [-1] * 8, "is '-1' in line 34 and 7 more: .* leave such rows out"),
        (["x", "y"] * 16 + ["-1"] * 8, "is '-1' in line 34 and 7 more: .* leave such rows out"),
        ([0.5, 1.0] * 16 + [-1.0] * 8, "is '-1.0' in line 34 and 7 more: .* leave such rows out"),
        ([0, 1] * 16 + [-100] * 8, "is '-100' in line 34 and 7 more: .* leave such rows out"),
        (["[0, 1]", "[1]"] * 20, r"is '\[0, 1\]' in line 2 and 39 more: a list is a class"),
        ([-1, 1] * 20, None), ([-1.0, 1.0] * 20, None), ([-2, -1, 0, 1, 2] * 8, None),
        ([-1.0, 0.5, -0.2, 2.0] * 10, None), (["-", "+"] * 20, None), ([1.0, 2.0] * 20, None),
        ([True, False] * 20, None), ([" yes", "no", "yes ", "no "] * 10, None),
    ],
)  # fmt: skip
def test_labels_that_may_not_be_what_they_seem_are_kept_and_named(mine, labels, said):
    table = pd.DataFrame({"text": [f"t{i}" for i in range(40)], "label": labels})
    classes, splits, warned = reading(path := mine(table))
    assert len(warned) == bool(said) and sum(map(len, splits.values())) == 40
    distinct = {str(label).strip() for label in labels}
    assert {*classes} == distinct or (not classes and "0.5" in distinct)
    for message in warned:
        assert re.search(f"column 'label' {said}", message)
        if "leave such rows out" in message:
            mine(table[~table["label"].astype(str).str.startswith("-")])
        elif "write them alike" in message:
            mine(table.replace({"good": "Good", "a  b": "a b"}))
        else:
            continue
        assert not reading(path)[2], "nothing is left to say once it is done"


@pytest.mark.parametrize(
    ("labels", "suffix", "digest"),
    [
        ([i % 2 for i in range(40)], "csv", "776e2dfc60ddcdf3 400f49c97bec0f33"),
        ([i % 2 for i in range(40)], "parquet", "776e2dfc60ddcdf3 400f49c97bec0f33"),
        (["no ", " yes"] * 20, "csv", "776e2dfc60ddcdf3 400f49c97bec0f33"),
        ([True, False] * 20, "csv", "95525d80da2b37c4 c51fb9f7dde56e1e"),
        ([0.0, 1.0] * 20, "csv", "776e2dfc60ddcdf3 400f49c97bec0f33"),
        ([i / 8 for i in range(40)], "csv", "be1ba1f291e07ff7 dd7f68289cce077a"),
        ([-1, 1] * 20, "csv", "776e2dfc60ddcdf3 400f49c97bec0f33"),
        (pd.Categorical(["b", "a"] * 20), "parquet", "95525d80da2b37c4 c51fb9f7dde56e1e"),
        (np.arange(40, dtype=np.float16) % 2, "parquet", "776e2dfc60ddcdf3 400f49c97bec0f33"),
    ],
)
def test_good_tables_are_read_as_they_were_when_runs_were_made_of_them(
    mine, labels, suffix, digest
):
    """Ids, texts, labels and splits: what makes a stored run stale."""
    texts = [f"day {i}, it said “{'so' if i % 3 else 'no'}”\n" for i in range(40)]
    for split in ({}, {"split": ["train"] * 30 + ["dev "] * 10}):
        task = tasks.get(mine({"text": texts, "label": labels} | split, suffix))
        assert contents_digest(task.read()) in digest.split()


def test_a_comma_too_many_in_the_first_row_is_named(mine):
    rows = "".join(f"t{i},{i % 2}\n" for i in range(30))
    with pytest.warns(UserWarning, match="line 2 has more cells than the header"):
        tasks.get(mine(("text,label\n" + rows.replace("t", "well, t")).encode()))


def test_repeated_texts_are_warned_about_and_stay_on_one_side_where_the_split_is_ours(mine):
    texts = [f"t{i // 2}" for i in range(40)]
    path = mine({"text": texts, "label": [i // 2 % 2 for i in range(40)]})
    with pytest.warns(UserWarning, match="20 repeated texts: line 3 repeats line 2 of the same"):
        splits = tasks.get(path).read()
    sides = [{row["text_a"] for row in splits[name]} for name in ("train", "dev")]
    assert not sides[0] & sides[1]
    with pytest.warns(UserWarning) as caught:
        tasks.get(mine(SOUND | {"text": ["a", "b", "c", "b"]}))
    messages = " ".join(str(warning.message) for warning in caught)
    assert "line 5 repeats line 3 of the other split" in messages
    split = ["dev", "dev", "train", "train"]
    with pytest.warns(UserWarning, match="1 repeated texts: line 3 repeats line 5 of the other"):
        tasks.get(mine(SOUND | {"text": ["a", "b", "c", "b"], "split": split}))
    assert "the dev split has one class" in messages


def test_words_that_pandas_takes_for_missing_are_words(mine):
    table = SOUND | {"text": ["None", "NA", "inf", "nan"], "label": ["NA", "inf ", "NA", "inf"]}
    with pytest.warns(UserWarning, match="one class"):
        task = tasks.get(mine(table))
    assert task.classes == ("NA", "inf")
    assert [row["text_a"] for row in task.read()["train"]] == ["None", "NA", "inf"]


def test_a_line_of_json_ends_where_it_ends(mine):
    """Not at what else Unicode calls the end of a line."""
    lines = [f'{{"text": "a\u2028{i}", "label": {i % 2}}}' for i in range(20)]
    _, splits, _ = reading(mine("\r\n".join([*lines, ""]).encode(), "jsonl"))
    assert sum(map(len, splits.values())) == 20
