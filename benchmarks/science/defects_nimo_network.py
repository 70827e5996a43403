"""Twins and dislocations of a measured electrodeposited Ni-Mo film, with the shipped network for nickel.

Usage: python benchmarks/science/defects_nimo_network.py [DATA] [--model NAME]   (default: ../shared/data)

The film is read as a service reads it: all of its points, with its small foreign peaks and whatever its
residual stress did to the places of its lines. Only its cell is told (3.62 angstrom, ``cell_A``); wavelength
and axis are as in :mod:`defects_nimo`, which has the whole-pattern fit of the same film. Printed are the
estimates with their 90 % intervals, whether the network knows such patterns, what is flagged with 95 %
confidence, and the reflections that carry it. Wanted: twins and dislocations flagged.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from streamproc.consumers._defect_reader import DefectReader, Look
from streamproc.consumers._defect_settings import DefectSettings
from streamproc.consumers._patterns import MeasuredPattern
from streamproc.models.powder.optics import CU_KA1_A

from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

A_OF_AXIS_NM, CELL_A = 0.36, 3.62
LIMITS = {"growth": 0.005, "density_per_m2": 1e15}


def film(path: Path) -> MeasuredPattern:
    """The film's pattern as it was measured, over 2theta of Cu K-alpha1."""
    squared, y = np.loadtxt(path).T
    two_theta = np.rad2deg(2 * np.arcsin(np.sqrt(squared) / A_OF_AXIS_NM * CU_KA1_A / 20))
    return MeasuredPattern(two_theta, "two_theta_deg", y, CU_KA1_A)


def look_at(path: Path, model: str) -> Look:
    """What the network says of the film."""
    settings = DefectSettings(model=model, cell_A=CELL_A, limits=LIMITS)
    inference = InferenceSettings()
    reader = DefectReader(settings, OnnxModel(find_model(model, inference), inference))
    return reader.look([film(path)])[0]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    parser.add_argument("data", nargs="?", type=Path, default=default)
    parser.add_argument("--model", default="defects_nickel")
    arguments = parser.parse_args()
    path = arguments.data / "defect_diffault" / "NiMo_sample.dat"
    if not path.is_file():
        print(f"not measured: there is no {path}")
        return 2
    try:
        look = look_at(path, arguments.model)
    except ConfigurationError as error:
        print(f"not measured: {error}")
        return 2
    for reason in look.reasons:
        print(reason)
    if look.reading is not None:
        print(f"{'estimate':16s} {'value':>10s}   90 % interval")
        for name, e in look.reading.estimates.items():
            print(f"{name:16s} {e.value:10.4g}   {e.low:.4g} to {e.high:.4g}")
    print(f"strain against a cell of {CELL_A} angstrom: {look.strain:.4f}")
    for name, lines in look.evidence.items():
        told = ", ".join(f"{r.hkl} {r.support:.0f}" for r in lines[:4])
        print(f"{name} above {LIMITS[name]:g} flagged; twice the log-likelihood ratio by reflection: {told}")
    found = [name for name, up in look.beyond.items() if up]
    print(f"flagged: {', '.join(found) or 'nothing'}")
    return 0 if set(found) == set(LIMITS) else 1


if __name__ == "__main__":
    raise SystemExit(main())
