"""Invented data in the layout and the exact schemas of the hub's GLUE and SuperGLUE."""

from pathlib import Path

import yaml
from datasets import ClassLabel, Dataset, Features, Sequence, Value

TEXT, NUMBER = Value("string"), Value("int32")
TRUTH = ClassLabel(names=["False", "True"])
ENTAILS = ClassLabel(names=["entailment", "not_entailment"])
NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
DEV = {"mnli": ("validation_matched", "validation_mismatched")}


def columns(*names: str, label: ClassLabel, **more: Value) -> Features:
    return Features({name: TEXT for name in names} | more | {"label": label, "idx": NUMBER})


def two(*names: str) -> ClassLabel:
    return ClassLabel(names=list(names))


SCHEMAS = {
    ("nyu-mll/glue", "cola"): columns("sentence", label=two("unacceptable", "acceptable")),
    ("nyu-mll/glue", "sst2"): columns("sentence", label=two("negative", "positive")),
    ("nyu-mll/glue", "mrpc"): columns(
        "sentence1", "sentence2", label=two("not_equivalent", "equivalent")
    ),
    ("nyu-mll/glue", "qqp"): columns(
        "question1", "question2", label=two("not_duplicate", "duplicate")
    ),
    ("nyu-mll/glue", "mnli"): columns("premise", "hypothesis", label=NLI),
    ("nyu-mll/glue", "qnli"): columns("question", "sentence", label=ENTAILS),
    ("nyu-mll/glue", "rte"): columns("sentence1", "sentence2", label=ENTAILS),
    ("nyu-mll/glue", "wnli"): columns(
        "sentence1", "sentence2", label=two("not_entailment", "entailment")
    ),
    ("aps/super_glue", "cb"): columns(
        "premise", "hypothesis", label=two("entailment", "contradiction", "neutral")
    ),
    ("aps/super_glue", "copa"): columns(
        "premise", "choice1", "choice2", "question", label=two("choice1", "choice2")
    ),
    ("aps/super_glue", "multirc"): Features(
        {
            "paragraph": TEXT, "question": TEXT, "answer": TEXT,
            "idx": {"paragraph": NUMBER, "question": NUMBER, "answer": NUMBER},
            "label": TRUTH,
        }
    ),
    ("aps/super_glue", "record"): Features(
        {
            "passage": TEXT, "query": TEXT, "entities": Sequence(TEXT),
            "entity_spans": Sequence({"text": TEXT, "start": NUMBER, "end": NUMBER}),
            "answers": Sequence(TEXT), "idx": {"passage": NUMBER, "query": NUMBER},
        }
    ),
    ("aps/super_glue", "wic"): columns(
        "word", "sentence1", "sentence2", label=TRUTH,
        start1=NUMBER, start2=NUMBER, end1=NUMBER, end2=NUMBER,
    ),
    ("aps/super_glue", "wsc.fixed"): columns(
        "text", "span1_text", "span2_text", label=TRUTH, span1_index=NUMBER, span2_index=NUMBER
    ),
}  # fmt: skip


def _plain(i: int, features: Features) -> dict:
    made = {
        name: f"{name} number {i} of a quiet day" for name, kind in features.items() if kind == TEXT
    }
    return made | {"idx": i, "label": i % len(features["label"].names)}


def _copa(i: int) -> dict:
    wet = i % 2
    return {
        "premise": f"The street of house {i} was wet.", "choice1": "It had rained.",
        "choice2": "We bought a lamp.", "question": ("cause", "effect")[wet], "idx": i,
        "label": wet,
    }  # fmt: skip


def _multirc(i: int) -> dict:
    return {
        "paragraph": f"Ana planted tree {i // 6}. Then she slept.",
        "question": f"Who? {i // 3 % 2}",
        "answer": ("Ana", "a dog", "the planter")[i % 3], "label": int(i % 3 != 1),
        "idx": {"paragraph": i // 6, "question": i // 3, "answer": i},
    }  # fmt: skip


def _record(i: int) -> dict:
    people = ["Ana Lund", "Berg", "The Lund"][: 2 + i % 2]
    return {
        "passage": f"Ana Lund met Berg on day {i}.", "query": "It was @placeholder who came early.",
        "entities": people, "answers": ["Ana Lund"],
        "entity_spans": {"text": people, "start": [0] * len(people), "end": [1] * len(people)},
        "idx": {"passage": i, "query": i},
    }  # fmt: skip


def _wic(i: int) -> dict:
    return {
        "word": "bank", "sentence1": f"The bank of river {i}.", "sentence2": "The bank lends.",
        "start1": 4, "end1": 8, "start2": 4, "end2": 8, "idx": i, "label": i % 2,
    }  # fmt: skip


def _wsc(i: int) -> dict:
    return {
        "text": f"Ana told Eva that she won prize {i}.", "span1_index": 0, "span1_text": "Ana",
        "span2_index": 4, "span2_text": "she", "idx": i, "label": i % 2,
    }  # fmt: skip


MAKERS = {"copa": _copa, "multirc": _multirc, "record": _record, "wic": _wic, "wsc.fixed": _wsc}


def write(root: Path, sizes: tuple[int, int] = (12, 6), changed: dict | None = None) -> Path:
    """Both repositories under ``root``: training and validation rows of the given sizes, an
    unlabelled test split, README with configurations and schemas. ``changed`` replaces schemas.
    """
    schemas = SCHEMAS | (changed or {})
    for repository in sorted({repository for repository, _ in schemas}):
        configs, infos = [], []
        for config in [config for where, config in schemas if where == repository]:
            features = schemas[repository, config]
            make = MAKERS.get(config, lambda i, features=features: _plain(i, features))
            splits = {"train": range(sizes[0])}
            for j, split in enumerate(DEV.get(config, ("validation",))):
                splits[split] = range((j + 1) * 60, (j + 1) * 60 + sizes[1])
            rows = {split: [make(i) for i in numbers] for split, numbers in splits.items()}
            hidden = {"answers": []} if config == "record" else {"label": -1}
            rows["test"] = [make(i) | hidden for i in range(900, 903)]
            for split, part in rows.items():
                path = root / repository / config / f"{split}-00000-of-00001.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                kept = [{name: row[name] for name in features} for row in part]
                Dataset.from_list(kept, features=features).to_parquet(path)
            configs.append(
                {
                    "config_name": config,
                    "data_files": [{"split": s, "path": f"{config}/{s}-*"} for s in rows],
                }
            )
            infos.append(
                {
                    "config_name": config,
                    "features": features._to_yaml_list(),
                    "splits": [{"name": s, "num_examples": len(part)} for s, part in rows.items()],
                }
            )
        card = yaml.safe_dump({"dataset_info": infos, "configs": configs}, sort_keys=False)
        (root / repository / "README.md").write_text(f"---\n{card}---\n\n# Invented\n")
    return root
