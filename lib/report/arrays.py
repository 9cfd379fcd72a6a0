"""Which array of a .npz or .npy is what: of one run, as trainer.predict gives it, or of all."""

from pathlib import Path

import numpy as np

from lib.report.columns import StoredRuns, Taken, numbered, texts
from lib.report.opening import NAMES, Content, OutsideError, check_shape, plain

#: What runs say, by the names that people give to it; what goes first is taken.
_KINDS = {
    "logits": ("logits", "scores"),
    "probabilities": ("probabilities", "probs", "prob", "proba"),
    "predictions": ("predictions", "preds", "pred", "y_pred", "predicted"),
}
#: What belongs to runs, by the names that people give to it.
_PARTS = {
    "labels": NAMES["label"],
    "examples": ("examples", "example_ids", "ids"),
    "states": ("hidden_states", "representations"),
    "runs": ("runs", "seeds"),
}


def runs_in_arrays(content: Content, *, single: bool) -> tuple[dict[str, StoredRuns], Taken]:
    """The runs along the first axis of named arrays; ``single``: one run, whose name is ''."""
    path = content.path
    name, kind, taken = _what_runs_say(content)
    array, parts = clean(path, name, content.arrays[name]), parts_of(content)
    whole = content.arrays[name].dtype.kind in "iu"
    if single:
        if array.ndim == 3:
            raise OutsideError(
                f"{path}: {name} has shape {array.shape}: several outputs of a model (hidden "
                "states, or start and end of an answer). Save one: predictions=out.predictions[0]"
            )
        if array.ndim == 2 and whole:
            raise OutsideError(
                f"{path}: {name} has shape {array.shape} and whole numbers: tokens? Save the "
                "decoded answers as text, or the logits of classes"
            )
    elif "label_ids" in content.arrays or "hidden_states" in content.arrays:
        raise OutsideError(
            f"{path}: this is one run, as trainer.predict gives it; give the folder that holds one "
            "file or one folder a run"
        )
    axes, least = (("N", "C"), 1) if single else (("S", "N", "C"), 2)
    check_shape(path, name, array, *axes[: max(least, array.ndim)])
    if not array.size:
        raise OutsideError(f"{path}: {name} has shape {array.shape}: there is nothing in it")
    if single:
        array, parts["runs"] = array[None], np.array([""])
        parts["states"] = None if parts["states"] is None else parts["states"][None]
    elif _swapped(array, parts):
        taken.notes.append(
            f"{name} has shape {array.shape}: taken as {array.shape[1]} runs on {len(array)} "
            f"examples. Were it {len(array)} runs, save their names as runs."
        )
        array = array.swapaxes(0, 1)
    S, N = array.shape[:2]
    check_shape(path, "runs", parts["runs"], S)
    check_shape(path, "examples", parts["examples"], N)
    check_shape(path, "representations", parts["states"], S, "L", N, "D")
    gold = parts["labels"]
    if gold is not None:
        gold, taken.labels = clean(path, "labels", gold), "labels with the runs"
        gold = gold[:, 0] if gold.shape[1:] == (1,) else gold
        if gold.ndim == 2 and len(gold) == N:
            raise OutsideError(
                f"{path}: labels have shape {gold.shape}: several labels an example, or tokens. "
                "One class an example can be compared: write a file for each label, or the decoded "
                "text"
            )
        check_shape(path, "labels", gold, N)
    runs, ids = parts["runs"], parts["examples"]
    names = texts([f"run{i + 1}" for i in range(S)] if runs is None else runs)
    if (again := names.duplicated()).any():
        called = names[again].iloc[0]
        raise OutsideError(f"{path}: two runs are called {called!r}; give each its own name")
    if ids is not None:
        ids = texts(ids).to_numpy(object)
    elif not single:
        ids = numbered(N)
    if array.ndim == 3 and kind == "predictions":
        kind = "logits"
    elif single and kind == "predictions" and not whole and array.dtype.kind == "f":
        kind = "regression"
    states = [None] * S if parts["states"] is None else parts["states"]
    runs = (StoredRuns(array[i], kind, ids, gold, states[i]) for i in range(S))
    return dict(zip(names, runs, strict=True)), taken


def _what_runs_say(content: Content) -> tuple[str, str, Taken]:
    """The array of what runs say, and its kind."""
    by_name = {plain(name): name for name in content.arrays}
    chosen = [(by_name[n], kind) for kind, names in _KINDS.items() for n in names if n in by_name]
    if not chosen and len(by_name) == 1 and not set(by_name) & set(NAMES["label"]):
        chosen = [(name, "predictions") for name in content.arrays]
    if not chosen:
        raise OutsideError(
            f"{content.path}: has arrays {', '.join(content.arrays)}; save one that is called "
            f"{' or '.join(_KINDS)}"
        )
    (name, kind), *rest = chosen
    return name, kind, Taken(predictions=f"array {name}", ignored=[other for other, _ in rest])


def parts_of(content: Content) -> dict[str, np.ndarray | None]:
    """By what they are, the arrays that belong to runs."""
    by_name = {plain(name): array for name, array in content.arrays.items()}
    return {
        part: next((by_name[name] for name in names if name in by_name), None)
        for part, names in _PARTS.items()
    }


def _swapped(array: np.ndarray, parts: dict[str, np.ndarray | None]) -> bool:
    """Whether examples are along the first axis, by what else there is, else by the longer one."""
    S, N = array.shape[:2]
    if parts["runs"] is not None or parts["states"] is not None:
        return S != N and parts["runs"] is not None and len(parts["runs"]) == N
    known = [len(parts[part]) for part in ("labels", "examples") if parts[part] is not None]
    return S != N and (all(n == S for n in known) if known else S > N)


def clean(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Numbers as float64, text as objects; complex numbers and dates are refused."""
    if array.dtype.kind in "cMmV":
        raise OutsideError(f"{path}: {name} holds {array.dtype}; save numbers or text")
    if array.dtype.kind in "USO":
        return texts(array.ravel()).to_numpy(object).reshape(array.shape)
    return array.astype(float)
