"""Force constants of aluminium from a powder measured on a chopper spectrometer (MARI, Ei = 59.4 meV, 5 K).

Every detector is kept; what lies within 9 meV of the elastic line is left out. Features of the density of
states are its maxima after the fit; beside them the maxima of the measured curve, which knows no model.
Usage: python benchmarks/science/phonons_measured.py [--shells 3] [--draw FILE.png]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from several_models import DATA, needs
from streamproc.models.excitations.lattice.crystal import cubic
from streamproc.models.excitations.lattice.density import peaks_of
from streamproc.models.excitations.lattice.fit import PowderData, PowderFit, fit_powder

from streamproc.frames.spectrometer_files import Spectrometer, read_spectrometer
from streamproc.reduction.inelastic import momentum_transfer_invA, powder_bins

EDGE_A, MASS_U, TEMPERATURE_K = 4.0325, 26.9815, 5.0
FEATURES_MEV = ("19 to 23", "36")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA, help="folder of measured data")
    made.add_argument("--shells", type=int, default=3, help="shells of neighbours with force constants")
    made.add_argument("--draw", type=Path, help="draw map, fit and density of states")
    arguments = made.parse_args()
    file = needs(arguments.data / "ins_mari_mslice") / "MAR21335_Ei60meV.nxs"
    data = powder_data(read_spectrometer(file), 9.0, 44.0, TEMPERATURE_K)
    began = time.process_time()
    fit = fit_powder(data, cubic("fcc", EDGE_A, MASS_U), arguments.shells)
    seconds = time.process_time() - began
    for name, value, sigma in zip(fit.names, fit.forces_N_m, fit.sigma_N_m, strict=True):
        print(f"{name}: {value:8.3f} +- {sigma:.3f} N/m")
    print(f"resolution {fit.width_meV:.2f} meV at 0, power {fit.width_power:.2f}")
    print(f"reduced chi-squared {fit.chi2_reduced:.2f}")
    print(f"features of the fitted density of states: {np.round(fit.features_meV, 2)} meV")
    print(f"maxima of the measured curve: {np.round(measured_features(data), 2)} meV")
    print(f"wanted: {' and '.join(FEATURES_MEV)} meV within 0.5 meV; fit took {seconds:.1f} s")
    if arguments.draw:
        drawn(data, fit, arguments.draw)


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
    main()
