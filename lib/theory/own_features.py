"""A head on features of one's own: read from a file, certified, in words and as tables.

FEATURES is an .npz file with ``features`` (N, D), ``labels`` (N,) and perhaps ``test_features``
(M, D); or a .csv or .parquet table with a column of labels, in which every other column is a
feature. Two tables come of each λ: training_λ.csv (row, bound, influence) and, of test features,
test_λ.csv (row, stable, removals).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from lib.theory.certificate import Certificate, certify

#: λ of λ/2 ‖w‖² beside the mean loss; C of scikit-learn is 1/(Nλ).
STRENGTHS = (1e-2, 1e-3, 1e-4)


class CertifiedHead(NamedTuple):
    """Certificates by λ, of N training examples of width D (with the bias), C classes, M tests."""

    n: int
    width: int
    classes: int
    tests: int
    certificates: dict[float, Certificate]

    def sentences(self) -> list[str]:
        """What the certificates say, a sentence or two a λ."""
        texts = []
        for strength, proved in self.certificates.items():
            order = np.argsort(proved.bound)[::-1]
            shares = proved.bound / np.linalg.norm(proved.weights)
            text = (
                f"λ = {strength:g}: without any one example the head moves by at most "
                f"{shares.max():.2%} of its length (row {order[0]}; then rows "
                f"{', '.join(map(str, order[1:5]))}), by {np.median(shares):.2%} in the median."
            )
            if self.tests:
                most, kept = proved.removals.max(), proved.stable.sum()
                text += (
                    f" No removal of one example turns the predictions of {kept} of {self.tests} "
                    "test examples"
                )
                if not kept:
                    text += " for certain: too little pulls this head to 0 for a proof"
                elif most > 1:
                    text += f"; none of any {most} those of {(proved.removals == most).sum()}"
                text += "."
            texts.append(text)
        return texts

    def write(self, folder: Path) -> None:
        """The tables of each λ."""
        folder.mkdir(parents=True, exist_ok=True)
        for strength, proved in self.certificates.items():
            training = {"bound": proved.bound, "influence": proved.influence}
            test = {"stable": proved.stable, "removals": proved.removals}
            for name, columns in {"training": training, "test": test}.items():
                table = pd.DataFrame(columns)
                table.to_csv(folder / f"{name}_{strength:g}.csv", index_label="row")


def certify_file(
    path: Path,
    *,
    test: Path | None = None,
    strengths: Sequence[float] = STRENGTHS,
    label: str = "label",
    bias: bool = True,
) -> CertifiedHead:
    """Certify heads on the features of a file, and of a second one with ``test`` features.

    ``label`` is the column of labels of a table; ``bias`` appends a column of ones. Raises
    ``ValueError`` that names the file and what is wrong with it.
    """
    data = _read(path, label)
    if "labels" not in data:
        raise ValueError(f"{path} has no labels; a table has them in column {label!r}: use --label")
    if test:
        data["test_features"] = _read(test, label)["features"]
    x, tests = data["features"], data.get("test_features", data["features"][:0])
    if bias:
        x, tests = (np.c_[part, np.ones(len(part))] for part in (x, tests))
    classes, labels = np.unique(data["labels"], return_inverse=True)
    certificates = {
        strength: certify(x, labels, strength=strength, test_features=tests)
        for strength in strengths
    }
    return CertifiedHead(*x.shape, len(classes), len(tests), certificates)


def _read(path: Path, label: str) -> dict[str, np.ndarray]:
    """``features``, and ``labels`` and ``test_features`` where the file has them."""
    if not path.exists():
        raise ValueError(f"{path}: no such file; check the path")
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
        except (ValueError, OSError, BadZipFile) as error:
            why = "pickles are not opened: write it again with np.savez, as numbers and text"
            raise ValueError(f"{path}: {error}; {why}") from error
        if "features" not in found:
            raise ValueError(f"{path} holds {', '.join(found) or 'nothing'}, but no features")
        return found
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path}: expected .npz, .csv or .parquet")
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    found = {"labels": table.pop(label).to_numpy()} if label in table else {}
    if other := list(table.select_dtypes(exclude="number")):
        remedy = "take it out, or name the column of labels by --label"
        raise ValueError(f"{path}: column {other[0]!r} holds no numbers; {remedy}")
    return found | {"features": table.to_numpy(float)}
