"""The shipped model for spectra on measured scans at constant Q: the columns of La2NiO4's map, one by one.

Usage: python benchmarks/science/spectra_measured.py [--data FOLDER] [--fwhm 4 5 6]

Every column is read alone, as a spectrum with errors and a constant background, the axis trusted. The
resolution is not stated with the data; three are tried. The truth beside it is the energy of the spin waves
there, at the couplings that the whole map gives (`magnon_measured.py`). Judged are columns where the band is
on the axis and moves by less than 2 meV within the Q resolution which the map shows: elsewhere a column holds
many energies, and is no oscillator. Under a magnon lies what the model calls a broad mode (phonons, two
magnons); the mode nearest to the band, in the width it is seen with, is compared. Wanted: three of four of
them in domain (by network, residuals and the independent multi-start fit, as in the service), and a median
distance of their energies from the band of at most a fifth of the resolution.

A column is an average over its Q resolution, so at the top of a band energies come out low: the median
distance with its sign says by how much, and the intervals do not know of it.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from magnon_measured import DATA, judge, la2nio4, reader_of
from magnon_measured import answer as read_map
from streamproc.models.excitations.lswt.waves import SpinModel, SpinWaves
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.oscillators.answer import answer
from streamproc.models.excitations.oscillators.calibration import ModeCalibration
from streamproc.models.excitations.oscillators.dho import thermal_energy
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.interpret import differences, reasons_of
from streamproc.models.excitations.oscillators.prepare import prepare
from streamproc.models.excitations.oscillators.resolution import Gaussian
from streamproc.models.excitations.oscillators.search import search
from streamproc.models.excitations.oscillators.spectrum import spectrum_of
from threadpoolctl import threadpool_limits

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

FLAT_MEV = 2.0
LEAST_POINTS = 45
STEP_RLU = 1e-3
TEMPERATURE_K = 300.0
"""Not stated; at 20 to 140 meV the Bose factor hardly matters."""


def flat_columns(model: SpinModel, q_rlu: np.ndarray, values: dict[str, float], q_fwhm: float) -> np.ndarray:
    """Return in which columns the band moves little within the Q resolution, shape (n,)."""
    slope = np.zeros(len(q_rlu))
    for axis in (0, 1):
        step = STEP_RLU * np.eye(3)[axis]
        up, down = (SpinWaves(model, q_rlu + side * step).energies(values)[:, -1] for side in (1.0, -1.0))
        slope = np.hypot(slope, (up - down) / (2 * STEP_RLU))
    return slope * q_fwhm < FLAT_MEV


def columns(
    model: OnnxModel, measured: SqeMap, band: np.ndarray, judged: np.ndarray, fwhm: float
) -> list[tuple[str, bool]]:
    """Answer every judged column; print what was said; return the claims."""
    calibration, kT = ModeCalibration(model.card.calibration), thermal_energy(TEMPERATURE_K, "meV")
    away, pulls, reasons, answered = [], [], Counter[str](), 0
    for k in np.flatnonzero(judged):
        seen = measured.measured[k]
        if seen.sum() < LEAST_POINTS:
            continue
        answered += 1
        data = spectrum_of(measured.energy_meV[seen], measured.intensity[k][seen], measured.sigma[k][seen])
        forward = Forward(data.energy, Gaussian(fwhm), kT)
        outputs = model.run(prepare(data, fwhm, 0.0, kT)[None])
        said = answer(forward, data, outputs, 0, 0.0)
        modes = 3 * said.fitted.composition.modes
        values = said.fitted.vector[:modes].reshape(-1, 3)
        sigmas = calibration.factor * said.fitted.sigma[:modes].reshape(-1, 3)
        other = min(search(forward, data, 0.0), key=lambda f: f.bic)
        why = [reason.partition(":")[0] for reason in reasons_of(said, forward, data, model.card)]
        if differences(said.fitted, other, sigmas).said:
            why.append("disagrees-with-fit")
        reasons.update(why)
        if why or not modes:
            continue
        near = int(np.argmin(np.abs(values[:, 0] - band[k]) / np.hypot(fwhm, values[:, 1])))
        away.append(values[near, 0] - band[k])
        pulls.append((away[-1], sigmas[near, 0]))
    off, common = np.abs(away), float(np.median(away))
    spread = [abs(distance - common) / sigma for distance, sigma in pulls]
    print(
        f"resolution {fwhm:g} meV: {answered} flat columns, {len(away)} in domain (the others: "
        f"{dict(reasons)}); energy from the band: median {np.median(off):.2f} meV, with its sign "
        f"{common:+.2f}, nine of ten within {np.quantile(off, 0.9):.2f}; about that common one, two of three "
        f"are within {np.quantile(spread, 0.683):.1f} stated sigmas"
    )
    return [
        (f"{fwhm:g} meV: three of four flat columns in domain", len(away) >= 0.75 * answered),
        (f"{fwhm:g} meV: median distance at most a fifth of the resolution", np.median(off) <= fwhm / 5),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--fwhm", type=float, nargs="+", default=[4.0, 5.0, 6.0], help="resolutions (meV)")
    arguments = parser.parse_args()
    folder = arguments.data / "ins_La2NiO4"
    if not folder.is_dir():
        print(f"{folder}: the measured data are not there", file=sys.stderr)
        return 2
    reader, whole = reader_of("magnon-square"), la2nio4(folder)
    _, fitted = read_map(reader, whole, "La2NiO4 path 2 by magnon-square, for the truth")
    if fitted is None:
        print("no fit of the map", file=sys.stderr)
        return 1
    values = {name: number.value for name, number in fitted.numbers.items()}

    judged = flat_columns(reader.case.model, whole.q_rlu, values, fitted.fit.widths.q_fwhm)
    band, settings = SpinWaves(reader.case.model, whole.q_rlu).energies(values)[:, -1], InferenceSettings()
    judged &= (band > whole.energy_meV[0] + FLAT_MEV) & (band < whole.energy_meV[-1] - FLAT_MEV)
    model, claims = OnnxModel(find_model("dho", settings), settings), []
    for fwhm in arguments.fwhm:
        claims += columns(model, whole, band, judged, fwhm)
    return judge(claims)


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # as every command of streamproc works
        raise SystemExit(main())
