"""Damage CIF files at random and read them: each must read or be refused with a sentence, never a traceback.

Values are replaced, exchanged and left out, characters altered, lines deleted and doubled. A file that
raises anything but ConfigurationError is kept in the working directory and named; the exit code is then 1.
Usage: python benchmarks/fuzz_cif.py FOLDER [--seconds 60] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

from streamproc.models.powder.cif import read_cifs
from streamproc.models.powder.tables import table_of

from streamproc.errors import ConfigurationError

VALUES = [
    "?",
    ".",
    "0",
    "1",
    "-1",
    "0.5",
    "90",
    "120",
    "1e-9",
    "1e9",
    "1e300",
    "nan",
    "inf",
    "1(",
    "(3)",
    "1/3",
    "1/0",
    "5.",
    "+.5",
    "-0",
    "0.3333",
    "0.9999999",
    "x,y,z",
    "-x,-y,-z",
    "Xx",
    "Fe",
    "D",
    "Va",
    "Cl-",
    "P1",
    "225",
    "2.5(3)",
    "'a",
    "b'",
    "'F",
    "d",
    "-3",
    "m'",
    "'-P",
    "4n",
    "2n'",
    "loop_",
    "data_x",
    "_x",
    "#",
    "'",
    '"',
    "é",
]
VALUES = """? . 0 1 -1 0.5 90 120 1e-9 1e9 1e300 nan inf 1( (3) 1/3 1/0 5. +.5 -0 0.3333 0.9999999 x,y,z
-x,-y,-z Xx Fe D Va Cl- P1 225 2.5(3) 'a 'Fd-3m' '-P loop_ data_x _x # ' " é""".split()  # noqa: SIM905
CHARACTERS = "0123456789.-+/xyz'\";\n ?"


def damaged(text: str, rng: random.Random) -> str:
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        words = re.split(r"(\s+)", text)
        at = rng.randrange(len(words))
        kind = rng.random()
        if kind < 0.6 and words[at].strip():
            words[at] = rng.choice(VALUES)
        elif kind < 0.7:
            words[at] = ""
        elif kind < 0.8:
            other = rng.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        text = "".join(words)
        if kind >= 0.9:
            lines = text.split("\n")
            line = rng.randrange(len(lines))
            lines[line : line + 1] = [] if rng.random() < 0.5 else [lines[line]] * 2
            text = "\n".join(lines)
        elif kind >= 0.8 and text:
            place = rng.randrange(len(text))
            text = text[:place] + rng.choice(CHARACTERS) + text[place + 1 :]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="CIF files, also in folders below")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    small = [p for p in sorted(arguments.folder.rglob("*.cif")) if p.stat().st_size < 100_000]
    texts = [p.read_text("latin-1") for p in small]
    if not texts:
        sys.exit(f"{arguments.folder}: no .cif file below 100 kB")
    rng = random.Random(arguments.seed)
    counts = {"read": 0, "refused": 0, "failed": 0}
    slowest = 0.0
    end = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.cif"
        while time.monotonic() < end:
            path.write_text(damaged(rng.choice(texts), rng))
            begin = time.monotonic()
            try:
                for phase in read_cifs([path]):
                    table_of(phase.structure, 1.5406, 1.0)
                counts["read"] += 1
            except ConfigurationError:
                counts["refused"] += 1
            except Exception:
                counts["failed"] += 1
                kept = Path(f"failed_{arguments.seed}_{counts['failed']}.cif")
                kept.write_text(path.read_text())
                traceback.print_exc()
                print(f"kept as {kept}")
            slowest = max(slowest, time.monotonic() - begin)
    print(", ".join(f"{n} {what}" for what, n in counts.items()), f"; slowest {slowest:.2f} s")
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
