"""Boats and what is said of them, for runs that generate texts: ``python -m benchmarks.boats``.

Makes ``data/course/boats.csv``: lists of slots about invented boats, each with three sentences that
put them into words. There is more than one way to say it, so that two runs may say it differently.
"""

import argparse
import itertools

import numpy as np
import pandas as pd

from lib import paths

TABLE = paths.DATA / "course/boats.csv"
NAMES = ["Heron", "Juniper", "Little Owl", "Marigold", "Old Tom", "Patience", "Quince",
         "Salty Dog", "Tern", "Wild Goose"]  # fmt: skip
KINDS = ["ferry", "barge", "rowing boat", "sailing boat"]
COLOURS = ["blue", "green", "red", "white", "yellow"]
PLACES = ["the old mill", "the harbour", "the stone bridge", "the island", "the lock"]
TRIPS = ["every day", "on Sundays", "at night", "in summer"]
N_TRAIN, N_DEV, N_REFERENCES = 400, 100, 3


def sentences(name: str, kind: str, colour: str, place: str, trips: str) -> list[str]:
    """All ways to say it; an empty slot is not said."""
    boat = " ".join(filter(None, [colour, kind or "boat"]))
    article = "an" if boat[0] in "aeiou" else "a"
    when = f" {trips}" if trips else ""
    near = f" by {place}" if place else ""
    ways = [
        f"{name} is {article} {boat}{near}." + (f" It sails{when}." if when else ""),
        f"The {boat} {name} lies{near or ' here'}" + (f" and sails{when}." if when else "."),
        f"There is {article} {boat} called {name}{near}"
        + (f", which sails{when}." if when else "."),
        f"You will find {name}{near}, {article} {boat}"
        + (f" that goes out{when}." if when else "."),
    ]
    if when:
        out = f" from {place}" if place else ""
        first = when.strip()[0].upper() + when.strip()[1:]
        ways.append(f"{first} the {boat} {name} goes out{out}.")
        ways.append(f"{name}, {article} {boat}, goes out{when}{out}.")
    if place:
        there = place[0].upper() + place[1:]
        ways.append(f"{there} is where {name} lies, {article} {boat}"
                    + (f" that sails{when}." if when else "."))  # fmt: skip
    return ways


def table() -> pd.DataFrame:
    """A row an input and reference: ``input, target, split``."""
    rng = np.random.default_rng(0)
    every = list(itertools.product(NAMES, KINDS, ["", *COLOURS], ["", *PLACES], ["", *TRIPS]))
    every = [slots for slots in every if sum(map(bool, slots)) >= 3]
    rows = []
    for number, chosen in enumerate(rng.permutation(len(every))[: N_TRAIN + N_DEV]):
        slots = dict(zip(("name", "kind", "colour", "place", "trips"), every[chosen], strict=True))
        ways = sentences(**slots)
        said = ", ".join(f"{name}: {value}" for name, value in slots.items() if value)
        for way in rng.permutation(len(ways))[:N_REFERENCES]:
            rows.append((said, ways[way], "train" if number < N_TRAIN else "dev"))
    return pd.DataFrame(rows, columns=["input", "target", "split"])


def main() -> None:
    """Write data/course/boats.csv."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.boats", description=main.__doc__
    ).parse_args()
    table().to_csv(TABLE, index=False)


if __name__ == "__main__":
    main()
