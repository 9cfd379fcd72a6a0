"""``python -m lib.theory FEATURES``: certify a head on features of your own."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.theory.certificate import Certificate, certify

DESCRIPTION = """\
How far can a single training example move a regularised logistic head on these features, and which
predictions can it turn? No head is trained without an example. Two tables are written for each λ:
training_λ.csv (row, bound, influence) and, of test features, test_λ.csv (row, stable, removals)."""
FORMATS = """\
FEATURES is an .npz file with features (N, D), labels (N,) and perhaps test_features (M, D); or a
.csv or .parquet table with a column of labels, in which every other column is a feature."""


def read(path: Path, label: str) -> dict[str, np.ndarray]:
    """``features``, and ``labels`` and ``test_features`` where the file has them."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
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


def reading(proved: Certificate, strength: float, n_test: int) -> str:
    """What a certificate says, in words."""
    order = np.argsort(proved.bound)[::-1]
    shares = proved.bound / np.linalg.norm(proved.weights)
    text = (
        f"λ = {strength:g}: without any one example the head moves by at most {shares.max():.2%} "
        f"of its length (row {order[0]}; then rows {', '.join(map(str, order[1:5]))}), by "
        f"{np.median(shares):.2%} in the median."
    )
    if n_test:
        most = proved.removals.max()
        text += (
            f"\n  No removal of one example turns the predictions of {proved.stable.sum()} of "
            f"{n_test} test examples; none of any {most} those of "
            f"{(proved.removals == most).sum()}."
        )
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lib.theory", description=DESCRIPTION, epilog=FORMATS
    )
    parser.add_argument("features", metavar="FEATURES", type=Path)
    parser.add_argument("--test", type=Path, metavar="FEATURES", help="test features, likewise")
    parser.add_argument(
        "--strength", type=float, nargs="+", default=[1e-2, 1e-3, 1e-4], metavar="λ",
        help="of λ/2 ‖w‖² beside the mean loss; C of scikit-learn is 1/(Nλ). Default: 0.01 0.001 "
        "0.0001",
    )  # fmt: skip
    parser.add_argument("--label", default="label", help="column of labels of a table (label)")
    parser.add_argument("--no-bias", action="store_true", help="append no column of ones")
    parser.add_argument("--out", type=Path, default=Path("certificate"), help="folder")
    options = parser.parse_args(arguments)
    try:
        data = read(options.features, options.label)
        if "labels" not in data:
            raise ValueError(f"{options.features} has no labels; a table has them in --label")
        if options.test:
            data["test_features"] = read(options.test, options.label)["features"]
        x, test = data["features"], data.get("test_features", data["features"][:0])
        if not options.no_bias:
            x, test = (np.c_[part, np.ones(len(part))] for part in (x, test))
        classes, labels = np.unique(data["labels"], return_inverse=True)
        certificates = {
            strength: certify(x, labels, strength=strength, test_features=test)
            for strength in options.strength
        }
        options.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    print(f"{len(x)} training examples of width {x.shape[1]}, {len(classes)} classes")
    for strength, proved in certificates.items():
        print(reading(proved, strength, len(test)))
        training = {"bound": proved.bound, "influence": proved.influence}
        tables = {
            "training": training,
            "test": {"stable": proved.stable, "removals": proved.removals},
        }
        for name, columns in tables.items():
            path = options.out / f"{name}_{strength:g}.csv"
            pd.DataFrame(columns).to_csv(path, index_label="row")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
