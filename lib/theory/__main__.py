"""``python -m lib.theory FEATURES``: certify a head on features of your own."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lib.theory import own_features


def main(arguments: Sequence[str] | None = None, prog: str = "python -m lib.theory") -> None:
    """Certify a head on the features of a file, and write what is proved of each row."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="How far can a single training example move a regularised logistic head on "
        "these features, and which predictions can it turn? No head is trained without an example.",
        epilog=own_features.__doc__,
    )
    parser.add_argument("features", metavar="FEATURES", type=Path)
    parser.add_argument("--test", type=Path, metavar="FEATURES", help="test features, likewise")
    parser.add_argument(
        "--strength", type=float, nargs="+", default=own_features.STRENGTHS, metavar="λ",
        help="of λ/2 ‖w‖² beside the mean loss; C of scikit-learn is 1/(Nλ). Default: 0.01 0.001 "
        "0.0001",
    )  # fmt: skip
    parser.add_argument("--label", default="label", help="column of labels of a table (label)")
    parser.add_argument("--no-bias", action="store_true", help="append no column of ones")
    parser.add_argument("--out", type=Path, default=Path("certificate"), help="folder")
    options = parser.parse_args(arguments)
    try:
        head = own_features.certify_file(
            options.features,
            test=options.test,
            strengths=options.strength,
            label=options.label,
            bias=not options.no_bias,
        )
        head.write(options.out)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    print(f"{head.n} training examples of width {head.width}, {head.classes} classes")
    print(*head.sentences(), f"written: {options.out}", sep="\n")


if __name__ == "__main__":
    main()
