"""Invented data in the layout and the exact schemas of the hub's GLUE and SuperGLUE."""

from pathlib import Path

import yaml
from datasets import ClassLabel, Dataset, Features, Sequence, Value

TEXT, NUMBER = Value("string"), Value("int32")
DEV = {"mnli": ("validation_matched", "validation_mismatched")}


def columns(*names: str, label: tuple[str, ...], **more: Value) -> Features:
    label = ClassLabel(names=list(label))
    return Features({name: TEXT for name in names} | {"idx": NUMBER} | more | {"label": label})


_TRUTH = ("False", "True")
_ENTAILS = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")
_SPANS = ("span1_text", "span2_text")
GLUE = {
    "cola": columns("sentence", label=("unacceptable", "acceptable")),
    "sst2": columns("sentence", label=("negative", "positive")),
    "mrpc": columns("sentence1", "sentence2", label=("not_equivalent", "equivalent")),
    "qqp": columns("question1", "question2", label=("not_duplicate", "duplicate")),
    "mnli": columns("premise", "hypothesis", label=_NLI),
    "qnli": columns("question", "sentence", label=_ENTAILS),
    "rte": columns("sentence1", "sentence2", label=_ENTAILS),
    "wnli": columns("sentence1", "sentence2", label=_ENTAILS[::-1]),
}
SUPERGLUE = {
    "cb": columns("premise", "hypothesis", label=("entailment", "contradiction", "neutral")),
    "copa": columns("premise", "choice1", "choice2", "question", label=("choice1", "choice2")),
    "multirc": columns(
        "paragraph", "question", "answer", label=_TRUTH,
        idx={"paragraph": NUMBER, "question": NUMBER, "answer": NUMBER},
    ),
    "record": Features(
        {
            "passage": TEXT, "query": TEXT, "entities": Sequence(TEXT),
            "entity_spans": Sequence({"text": TEXT, "start": NUMBER, "end": NUMBER}),
            "answers": Sequence(TEXT), "idx": {"passage": NUMBER, "query": NUMBER},
        }
    ),
    "wic": columns(
        "word", "sentence1", "sentence2", label=_TRUTH,
        start1=NUMBER, start2=NUMBER, end1=NUMBER, end2=NUMBER,
    ),
    "wsc.fixed": columns("text", *_SPANS, label=_TRUTH, span1_index=NUMBER, span2_index=NUMBER),
}  # fmt: skip


def _plain(i: int, features: Features) -> dict:
    texts = [name for name, kind in features.items() if kind == TEXT]
    made = {name: f"{name} number {i} of a quiet day" for name in texts}
    return made | {"idx": i, "label": i % len(features["label"].names)}


def _record(i: int) -> dict:
    people = ["Ana Lund", "Berg", "The Lund"][: 2 + i % 2]
    return {
        "passage": f"Ana Lund met Berg on day {i}.", "query": "It was @placeholder who came early.",
        "entities": people, "answers": ["Ana Lund"],
        "entity_spans": {"text": people, "start": [0] * len(people), "end": [1] * len(people)},
        "idx": {"passage": i, "query": i},
    }  # fmt: skip


MAKERS = {
    "copa": lambda i: {
        "premise": f"The street of house {i} was wet.", "choice1": "It had rained.",
        "choice2": "We bought a lamp.", "question": ("cause", "effect")[i % 2], "idx": i,
        "label": i % 2,
    },
    "multirc": lambda i: {
        "paragraph": f"Ana planted tree {i // 6}. Then she slept.",
        "question": f"Who? {i // 3 % 2}",
        "answer": ("Ana", "a dog", "the planter")[i % 3], "label": int(i % 3 != 1),
        "idx": {"paragraph": i // 6, "question": i // 3, "answer": i},
    },
    "record": _record,
    "wic": lambda i: {
        "word": "bank", "sentence1": f"The bank of river {i}.", "sentence2": "The bank lends.",
        "start1": 4, "end1": 8, "start2": 4, "end2": 8, "idx": i, "label": i % 2,
    },
    "wsc.fixed": lambda i: {
        "text": f"Ana told Eva that she won prize {i}.", "span1_index": 0, "span1_text": "Ana",
        "span2_index": 4, "span2_text": "she", "idx": i, "label": i % 2,
    },
}  # fmt: skip


def write(root: Path, changed: dict[str, Features] | None = None) -> Path:
    """Both repositories under ``root``: 12 training and 6 validation rows, an unlabelled test split
    of 3, README with the configurations. ``changed`` replaces schemas of GLUE.
    """
    for repository, schemas in (
        ("nyu-mll/glue", GLUE | (changed or {})),
        ("aps/super_glue", SUPERGLUE),
    ):
        configs = []
        for config, features in schemas.items():
            make = MAKERS.get(config, lambda i, features=features: _plain(i, features))
            hidden = {"answers": []} if config == "record" else {"label": -1}
            rows = {"train": [make(i) for i in range(12)]}
            for j, split in enumerate(DEV.get(config, ("validation",)), start=1):
                rows[split] = [make(i) for i in range(60 * j, 60 * j + 6)]
            rows["test"] = [make(i) | hidden for i in range(900, 903)]
            folder = root / repository / config
            folder.mkdir(parents=True)
            for split, part in rows.items():
                kept = [{name: row[name] for name in features} for row in part]
                stored = Dataset.from_list(kept, features=features)
                stored.to_parquet(folder / f"{split}-00000-of-00001.parquet")
            files = [{"split": split, "path": f"{config}/{split}-*"} for split in rows]
            configs.append({"config_name": config, "data_files": files})
        card = yaml.safe_dump({"configs": configs}, sort_keys=False)
        (root / repository / "README.md").write_text(f"---\n{card}---\n\n# Invented\n")
    return root
