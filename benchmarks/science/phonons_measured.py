"""Force constants of aluminium from a powder measured on a chopper spectrometer (MARI, Ei = 59.4 meV, 5 K).

Every detector is kept; what lies within 9 meV of the elastic line is left out. Three answers to the same map:
the shipped model `phonon-fcc` (its network, and the fit that begins there, as `excitation-fit` gives them); a
fit without a start by other code (`fit_powder`: other line shape, bounded by the elastic line's width); and
the maxima of the measured curve, which knows no model. Then maps of something else, which are to be refused:
the same map with columns in another order or energies upside down, two magnets' maps read as a powder's, and
this map read by the models of magnets.
Usage: python benchmarks/science/phonons_measured.py [--model phonon-fcc] [--shells 3] [--draw FILE.png]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from magnon_measured import csvcl3, la2nio4
from several_models import DATA, needs
from streamproc.models.excitations.lattice.crystal import cubic
from streamproc.models.excitations.lattice.density import peaks_of
from streamproc.models.excitations.lattice.fit import PowderData, PowderFit, fit_powder
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.reader import MapReader

from streamproc.errors import FrameFailed
from streamproc.frames.spectrometer_files import Spectrometer, read_spectrometer
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.reduction.inelastic import momentum_transfer_invA, powder_bins
from streamproc.settings import InferenceSettings

EDGE_A, MASS_U, TEMPERATURE_K = 4.0325, 26.9815, 5.0
FEATURES_MEV = ("19 to 23", "36")
WITHIN_MEV = 0.5


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA, help="folder of measured data")
    made.add_argument("--model", default="phonon-fcc", help="NAME, NAME:VERSION or a version folder")
    made.add_argument("--shells", type=int, default=3, help="shells of neighbours with force constants")
    made.add_argument("--draw", type=Path, help="draw map, fit and density of states")
    arguments = made.parse_args()
    file = needs(arguments.data / "ins_mari_mslice") / "MAR21335_Ei60meV.nxs"
    data = powder_data(read_spectrometer(file), 9.0, 44.0, TEMPERATURE_K)
    began = time.process_time()
    fit = fit_powder(data, cubic("fcc", EDGE_A, MASS_U), arguments.shells)
    seconds = time.process_time() - began
    print(f"fit_powder, {seconds:.1f} s of processor time")
    for name, value, sigma in zip(fit.names, fit.forces_N_m, fit.sigma_N_m, strict=True):
        print(f"  {name}: {value:8.3f} +- {sigma:.3f} N/m")
    print(f"  resolution {fit.width_meV:.2f} meV at 0, power {fit.width_power:.2f}")
    print(f"  reduced chi-squared {fit.chi2_reduced:.2f}")
    print(f"  features of the fitted density of states: {np.round(fit.features_meV, 2)} meV")
    curve = measured_features(data)
    print(f"maxima of the measured curve: {np.round(curve, 2)} meV; wanted: {' and '.join(FEATURES_MEV)} meV")
    if arguments.draw:
        drawn(data, fit, arguments.draw)
    claims = answered(reader_of(arguments.model), data, curve, fit)
    claims += [(f"refused: {what}", refused(reader, one)) for what, reader, one in foreign(arguments, data)]
    for claim, holds in claims:
        print(f"{'holds ' if holds else 'FAILS '} {claim}")
    return 0 if all(h for _, h in claims) else 1


def reader_of(name: str) -> MapReader:
    settings, folder = InferenceSettings(), Path(name)
    file = folder / "model.onnx" if folder.is_dir() else find_model(name, settings)
    return MapReader(OnnxModel(file, settings))


def answered(
    reader: MapReader, data: PowderData, curve: np.ndarray, fit: PowderFit
) -> list[tuple[str, bool]]:
    """What the model says of the map, beside the other answers."""
    measured = sqe_of(data)
    began = time.process_time()
    read = reader.read(measured)
    middle = time.process_time()
    refined = reader.refine(measured, read, TEMPERATURE_K)
    print(
        f"{reader.card.name}:{reader.card.version}: network {1e3 * (middle - began):.0f} ms, fit from there "
        f"{time.process_time() - middle:.1f} s of processor time; distance {read.answer.distance:.2f}"
    )
    if refined is None:
        return [("the map can be fitted", False)]
    other = dict(zip(fit.names, zip(fit.forces_N_m, fit.sigma_N_m, strict=True), strict=True))
    for name, found in refined.numbers.items():
        own = read.answer.numbers[name]
        said = f"  {name}: network {own.value:7.3f} +- {own.sigma:.3f}, "
        said += f"fit {found.value:7.3f} +- {found.sigma:.3f}"
        if name in other:
            value, sigma = other[name]
            said += f" N/m, {(found.value - value) / np.hypot(found.sigma, sigma):+.1f} sigma from fit_powder"
        print(said)
    print(f"  {', '.join(f'{n} {v.value:.2f} +- {v.sigma:.2f} meV' for n, v in refined.derived.items())}")
    print(
        f"  reduced chi-squared {refined.fit.chi2_reduced:.3f}, explained {refined.fit.explained:.3f}, "
        f"resolution {refined.fit.widths.energy_fwhm:.2f} meV at 0 (elastic line "
        f"{data.elastic_fwhm_meV:.2f}), {refined.fit.widths.end_fwhm:.2f} meV at the end"
    )
    low, high = (refined.derived[f"{n}_maximum"].value for n in ("transverse", "longitudinal"))
    reasons = (*read.reasons, *refined.reasons)
    return [
        (f"in domain {'; '.join(reasons)}", not reasons),
        (
            f"lower maximum {low:.2f} within {WITHIN_MEV} meV of 19 to 23 (the curve's: {curve[0]:.2f})",
            19 - WITHIN_MEV <= low <= 23 + WITHIN_MEV,
        ),
        (f"upper maximum {high:.2f} within {WITHIN_MEV} meV of 36", abs(high - 36.0) <= WITHIN_MEV),
        ("every force constant has an error", all(v.sigma > 0 for v in refined.numbers.values())),
    ]


def sqe_of(data: PowderData) -> SqeMap:
    """Return the same map as the models of maps take it."""
    centre = (data.q_edges_invA[1:] + data.q_edges_invA[:-1]) / 2
    q = np.stack([centre, 0 * centre, 0 * centre], 1)
    return SqeMap.of(q, data.energy_meV, data.intensity, data.sigma, data.measured)


def foreign(arguments: argparse.Namespace, data: PowderData) -> Iterator[tuple[str, MapReader, SqeMap]]:
    """Maps of something else, and the model that is asked about each."""
    own, reader = sqe_of(data), reader_of(arguments.model)
    order = np.random.default_rng(1).permutation(len(own.q_rlu))
    parts = ("intensity", "sigma", "measured")
    yield "columns in another order", reader, replace(own, **{k: getattr(own, k)[order] for k in parts})
    yield "energies upside down", reader, replace(own, **{k: getattr(own, k)[:, ::-1] for k in parts})
    for what, whole, edge in (
        ("La2NiO4", la2nio4(arguments.data / "ins_La2NiO4"), 3.9),
        ("CsVCl3", csvcl3(arguments.data / "ins_CsVCl3"), 3.0),
    ):
        length = 2 * np.pi / edge * np.linalg.norm(whole.q_rlu, axis=1)
        yield (
            f"{what} read as a powder of aluminium",
            reader,
            replace(whole, q_rlu=np.stack([length, 0 * length, 0 * length], 1)),
        )
    for name, axis in (("magnon-square", 0), ("magnon-chain", 2), ("magnon-honeycomb", 0)):
        q = np.zeros_like(own.q_rlu)
        q[:, axis] = own.q_rlu[:, 0] * EDGE_A / (2 * np.pi)
        yield f"aluminium read by {name}", reader_of(name), replace(own, q_rlu=q)


def refused(reader: MapReader, measured: SqeMap) -> bool:
    """Whether a map is said to be none of the model's, and why."""
    try:
        read = reader.read(measured)
    except FrameFailed as error:
        print(f"  {error.message}")
        return True
    refined = reader.refine(measured, read, TEMPERATURE_K)
    reasons = (*read.reasons, *(refined.reasons if refined is not None else ("no fit",)))
    print(f"  {'; '.join(reasons) or 'no reason'}")
    return bool(reasons)


def powder_data(found: Spectrometer, low_meV: float, high_meV: float, temperature_K: float) -> PowderData:
    """Return the map of |Q| and E of a spectrometer's file."""
    energy = (found.edges_meV[1:] + found.edges_meV[:-1]) / 2
    q = momentum_transfer_invA(found.two_theta_deg, energy, found.incident_meV)
    edges = np.arange(np.nanmin(q) + 0.5, np.nanmax(q[:, energy > low_meV]), 0.25)
    y, s, seen, _ = powder_bins(q, found.intensity, found.sigma, found.measured, edges)
    keep = (energy > low_meV) & (energy < high_meV)
    return PowderData(
        edges, energy[keep], y[:, keep], s[:, keep], seen[:, keep], found.incident_meV, temperature_K,
        elastic_fwhm_meV(energy, found),
    )  # fmt: skip


def elastic_fwhm_meV(energy: np.ndarray, found: Spectrometer) -> float:
    """Return the full width at half maximum of the elastic line, all detectors together."""
    total = np.where(found.measured, found.intensity, 0.0).sum(0)
    above = np.flatnonzero(total > total.max() / 2)
    return float(energy[above[-1]] - energy[above[0]] + energy[1] - energy[0])


def measured_features(data: PowderData) -> np.ndarray:
    """Return the maxima of E times the mean intensity over Q^2, smoothed by 1 meV."""
    centre = (data.q_edges_invA[1:] + data.q_edges_invA[:-1]) / 2
    high = (centre > 4)[:, None] & data.measured
    mean = (data.intensity / centre[:, None] ** 2 * high).sum(0) / np.maximum(high.sum(0), 1)
    step = data.energy_meV[1] - data.energy_meV[0]
    kernel = np.exp(-0.5 * (np.arange(-15, 16) * step / 0.45) ** 2)
    smooth = np.convolve(mean * data.energy_meV, kernel / kernel.sum(), "same")
    inside = (data.energy_meV > data.energy_meV[0] + 3) & (data.energy_meV < data.energy_meV[-1] - 3)
    return peaks_of(data.energy_meV[inside], smooth[inside], 0.05)


def drawn(data: PowderData, fit: PowderFit, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), constrained_layout=True)
    q = (data.q_edges_invA[1:] + data.q_edges_invA[:-1]) / 2
    top = np.quantile(data.intensity[data.measured], 0.99)
    for axis, values, title in ((axes[0], data.intensity, "measured"), (axes[1], fit.calculated, "fit")):
        axis.pcolormesh(q, data.energy_meV, np.where(data.measured, values, np.nan).T, vmin=0, vmax=top)
        axis.set(title=title, xlabel="|Q| (1/Å)", ylabel="energy (meV)")
    axes[2].plot(fit.density.energy_meV, fit.density.states)
    axes[2].set(title="density of states of the fit", xlabel="energy (meV)", ylabel="1/meV")
    figure.savefig(file, dpi=90)


if __name__ == "__main__":
    raise SystemExit(main())
