"""A model trained by the command from a folder's own CIFs names the phases of its measured patterns.

The Li-Mn-Ti-O-F set: 56 phases, nine measured patterns whose file names say what is in them. A phase counts
as found when one of its formula is called present; each phase of another formula is one too many. Patterns of
phases that the folder has no CIF of must be abstained from and are not counted.
Usage: python benchmarks/science/phase_map_identify.py --models FOLDER [--draw DIR]
       python benchmarks/science/phase_map_identify.py --train DIR --seeds 1     (up to 30 minutes each)
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from several_models import DATA, models_of, needs, parser, spread
from streamproc.models.phase_map.check import Checker
from streamproc.models.phase_map.interpret import PRESENT, interpret
from streamproc.models.powder.pattern import prepare

from streamproc.frames.pattern_files import read_pattern
from streamproc.inference.model import OnnxModel

CIFS = DATA / "xrd_autoanalyzer" / "references"
OPTIONS = ["--cif", *map(str, sorted(CIFS.glob("*.cif"))), "--wavelength", "1.5406", "--ka2", "--range", "10",
           "100", "--span", "*=0.012"]  # fmt: skip


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--draw", type=Path, help="folder for drawings of the misses")
    arguments = made.parse_args()
    spectra = needs(arguments.data / "xrd_autoanalyzer" / "spectra")
    scores = [judged(model, spectra, arguments.draw) for model in models_of(arguments, OPTIONS)]
    spread("F1 of the phases named in the files", scores, ">= 0.9")


def judged(model: OnnxModel, spectra: Path, draw: Path | None) -> float:
    card, checker = model.card, Checker(model.card)
    right = wrong = missed = 0
    print(model.model_id)
    for file in sorted(spectra.iterdir()):
        pattern = read_pattern(file)
        x, coverage = prepare(pattern.axis, pattern.intensity, card.axis)
        outputs = model.run(x[None])
        checked = checker.check(x, outputs["presence"][0])
        answer = interpret(outputs, card, 0, coverage, checked)
        said = {n for n, p in answer.presence.items() if p > PRESENT}
        wanted = formulas(file.stem)
        known = {formula_of(n) for n in card.labels}
        text = ", ".join(
            f"{n} {answer.presence[n]:.2f} ({100 * checked.fit.fractions[n]:.0f} %)" for n in sorted(said)
        )
        reasons = "; ".join(answer.reasons)
        if not set(wanted) <= known:
            state = "abstained" if not answer.in_domain else "NOT ABSTAINED"
            print(
                f"  {file.name:<22} no CIF of {', '.join(set(wanted) - known)}: {state} ({reasons}); {text}"
            )
            continue
        found = [formula_of(n) for n in said]
        hits = [w for w in wanted if w in found]
        lost, extra = (
            [w for w in wanted if w not in found],
            sorted(n for n in said if formula_of(n) not in wanted),
        )
        right, missed, wrong = right + len(hits), missed + len(lost), wrong + len(extra)
        amiss = f"missed {lost or '-'}, too many {extra or '-'}"
        print(f"  {file.name:<22} {text}; {amiss}; {reasons or 'in domain'}")
        if draw is not None and (lost or extra):
            drawn(draw, file.stem, checked.fit)
    return 2 * right / max(1, 2 * right + wrong + missed)


def formulas(stem: str) -> list[str]:
    return re.split(r"[+-]", stem)


def formula_of(label: str) -> str:
    return label.rsplit("_", 1)[0]


def drawn(folder: Path, name: str, fit) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(11, 5))
    axes.plot(fit.two_theta_deg, np.sqrt(np.maximum(fit.observed, 0)), ".", ms=2, label="measured")
    axes.plot(fit.two_theta_deg, np.sqrt(np.maximum(fit.calculated, 0)), lw=0.8, label="fit")
    for label, part in fit.contribution.items():
        if part.max() > 0:
            axes.plot(fit.two_theta_deg, np.sqrt(part), lw=0.6, label=label)
    axes.set(xlabel="2theta (degrees)", ylabel="square root of intensity", title=name)
    axes.legend()
    figure.savefig(folder / f"{name}.png", dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
