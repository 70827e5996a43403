"""Spectra of damped oscillators, simulated and never seen in training: errors, coverage, speed, foreign data.

lmfit (extra ``dev``) fits the same spectra beside it: weighted least squares from the true values moved by
half a resolution width, the true number of modes given, its own convolution on a fine grid;
and once more told nothing, as the answer is told nothing.
Sharp: narrower than the resolution. Ranks are those of one mode of each spectrum, and every spectrum has a
spectrometer of its own: the place of zero, known to 0.07 resolution widths where the elastic line is not
seen, is that of the spectrometer, and shifts all its modes alike. Times are CPU times of the one thread that
works.
Usage: python benchmarks/science/excitation_spectra.py [--model dho] [--seeds 1 2 3] [--spectra 400]
       [--lmfit 40] [--foreign 25] [--latency]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from scipy.stats import kstest
from streamproc.models.excitations.oscillators.answer import answer
from streamproc.models.excitations.oscillators.calibration import ModeCalibration
from streamproc.models.excitations.oscillators.dho import structure_factor
from streamproc.models.excitations.oscillators.foreign import KINDS, foreign_spectrum
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.instruments import Library, build_library
from streamproc.models.excitations.oscillators.interpret import reasons_of
from streamproc.models.excitations.oscillators.judge import Judged, judge, pairs, zero_prior
from streamproc.models.excitations.oscillators.parameters import PER_MODE, Composition, Mode
from streamproc.models.excitations.oscillators.prepare import prepare
from streamproc.models.excitations.oscillators.resolution import Gaussian
from streamproc.models.excitations.oscillators.search import search
from streamproc.models.excitations.oscillators.spectrum import Spectrum, spectrum_of
from threadpoolctl import threadpool_limits

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

FINE = 20
"""Steps per resolution width of lmfit's convolution."""


def accuracy(judged: Judged, model: OnnxModel, ranks: dict[str, list[float]]) -> dict[str, float]:
    """Errors and coverage of answers in domain; ranks of true values are added to ``ranks``."""
    calibration, sound = ModeCalibration(model.card.calibration), judged.sound(model.card.calibration.limits)
    truth, value, sigma, peak = sound.matched()
    one, covered = sound.one_of_each(), calibration.covers(truth, value, sigma)
    every = calibration.ranks(truth, value, sigma)[one]
    off, sharp = np.abs(value - truth), truth[:, 1] < 1.0
    clear = sharp & (peak >= 50)
    faint = clear & (peak < 100)
    gross = off[:, 0] > 1.0
    found = {
        "flagged": 1 - len(sound.cases) / len(judged.cases),
        "number right": np.mean([x.right_number for x in sound.cases]),
        "searched": np.mean([x.answer.searched for x in judged.cases]),
        "energy off by more than 1 fwhm (share of sharp modes of 50 counts and more)": gross[clear].mean(),
        "energy off (fwhm), rms of the others of them": np.sqrt(np.mean(off[clear & ~gross, 0] ** 2)),
        "the same for peaks of 50 to 100 counts": np.sqrt(np.mean(off[faint & ~gross, 0] ** 2)),
        "energy off (fwhm), median, all modes": np.median(off[:, 0]),
    }
    for k, name in enumerate(PER_MODE):
        found[f"90 % interval holds the {name}"] = np.mean(covered[:, k])
        ranks[name] += list(every[:, k])
        test = kstest(every[:, k], "uniform")
        found[f"ranks of the true {name}: largest distance from uniform"] = test.statistic
        found[f"ranks of the true {name}: as far by chance (%)"] = 100 * test.pvalue
    return found


def foreign(model: OnnxModel, library: Library, each: int, seed: int) -> dict[str, float]:
    """Share of each kind of foreign spectra that is flagged."""
    found = {}
    for kind in KINDS:
        flagged = 0
        for k in range(each):
            data, forward = foreign_spectrum(kind, library, k % len(library), seed + k)
            shape = forward.resolution
            outputs = model.run(prepare(data, shape.fwhm, shape.lorentzian, forward.kT)[None])
            said = answer(forward, data, outputs, 0, zero_prior(1.0))
            flagged += bool(reasons_of(said, forward, data, model.card))
        found[f"flagged: {kind}"] = flagged / each
    return found


def lmfit_fit(
    data: Spectrum, forward: Forward, start: np.ndarray, modes: int
) -> tuple[np.ndarray, float, float, np.ndarray]:
    """Fit with lmfit as one would write it; returns modes, seconds, chi-square, and the fitted spectrum."""
    from lmfit import Parameters, minimize

    fwhm, e = forward.resolution.fwhm, forward.energy
    margin = 3 * fwhm
    fine = np.arange(e[0] - margin, e[-1] + margin, fwhm / FINE)
    half = np.arange(1, int(margin * FINE / fwhm) + 1) * fwhm / FINE
    kernel = forward.resolution(np.concatenate([-half[::-1], [0.0], half])) * fwhm / FINE
    parameters = Parameters()
    for k in range(modes):
        centre, width, amplitude = start[k]
        parameters.add(f"e{k}", centre, min=0.05 * fwhm)
        parameters.add(f"w{k}", width, min=0.01 * fwhm)
        parameters.add(f"a{k}", amplitude, min=0.0)
    parameters.add("elastic", max(float(data.counts.max()), 1.0), min=0.0)
    parameters.add("zero", 0.0, min=-0.5 * fwhm, max=0.5 * fwhm)
    parameters.add("background", max(float(np.quantile(data.counts, 0.2)), 0.1), min=0.0)
    weight = 1 / np.sqrt(np.maximum(data.counts, 1.0))

    def residual(p: Any) -> np.ndarray:
        v = p.valuesdict()
        source = np.zeros_like(fine)
        for k in range(modes):
            source += structure_factor(fine - v["zero"], v[f"e{k}"], v[f"w{k}"], v[f"a{k}"], forward.kT)
        seen = np.interp(e, fine, np.convolve(source, kernel, "same"))
        line = v["elastic"] * forward.resolution(e - v["zero"])
        rest = (data.counts - seen - line - v["background"]) * weight
        return np.append(rest, v["zero"] / zero_prior(fwhm))  # the same knowledge of the zero as ours

    began = time.thread_time()
    done = minimize(residual, parameters, method="leastsq")
    took = time.thread_time() - began
    v = done.params.valuesdict()
    modes_found = np.array([[v[f"e{k}"], v[f"w{k}"], v[f"a{k}"]] for k in range(modes)])
    return modes_found, took, float(done.chisqr), data.counts - residual(done.params)[:-1] / weight


def lmfit_search(data: Spectrum, forward: Forward) -> tuple[np.ndarray, float]:
    """Fit with lmfit told neither number nor start: 1, 2, ... modes, each from six starts; modes and seconds.

    A new mode starts at one of the three highest residuals, sharp or broad; more modes are tried until the
    information criterion rises.
    """
    modes, began, last = np.empty((0, 3)), time.thread_time(), np.inf
    fwhm, e = forward.resolution.fwhm, forward.energy
    rest = data.counts - np.median(data.counts)
    for number in range(1, 5):
        best = None
        for place in np.argsort(-rest * (np.abs(e) > fwhm))[:3]:
            for width in (0.5 * fwhm, 3 * fwhm):
                new = [max(abs(e[place]), 0.3 * fwhm), width, max(rest[place], 1.0) * np.hypot(width, fwhm)]
                found, _, chi2, seen = lmfit_fit(data, forward, np.vstack([modes, new]), number)
                if best is None or chi2 < best[1]:
                    best = (found, chi2, seen)
        assert best is not None
        bic = best[1] + 3 * number * np.log(e.size)
        if bic >= last:
            break
        modes, last = best[0], bic
        rest = (data.counts - best[2]) / np.sqrt(np.maximum(data.counts, 1.0))
    return modes, time.thread_time() - began


def beside_lmfit(model: OnnxModel, judged: Judged, most: int, rng: np.random.Generator) -> dict[str, float]:
    """Agreement on all spectra that lmfit can fit too; speed, and its own search, on the first of them.

    One core, both with the convolution's tables at hand.
    """
    agree, ours, told, untold = [], [], [], []
    same, agree_untold = [], []
    for case in (c for c in judged.cases if c.right_number and 1 <= len(c.truth) <= 3):
        data, row = judged.batch.spectrum(case.place, judged.library), case.row
        forward = Forward(data.energy, judged.library.resolution(row), float(judged.library.kT[row]))
        even = np.abs(np.diff(data.energy) / np.diff(data.energy)[0] - 1).max() < 1e-6
        if not even or case.truth[:, 1].min() < 0.2:
            continue  # on lmfit's grid a sharper mode falls between the points
        start = case.truth * np.exp(rng.normal(0, 0.2, case.truth.shape))
        start[:, 0] = case.truth[:, 0] + rng.normal(0, 0.5, len(case.truth))
        found, took, _, _ = lmfit_fit(data, forward, np.maximum(start, 0.05), len(case.truth))
        values, sigmas = case.paired()
        found = found[pairs(values, found)]
        agree += list(np.abs(found[:, 0] - values[:, 0]) <= np.maximum(sigmas[:, 0], 1e-9))
        if len(ours) < most:
            told.append(took)
            ours.append(_seconds(model, data, forward))
            searched, seconds = lmfit_search(data, forward)
            untold.append(seconds)
            same.append(len(searched) == len(values))
            if same[-1]:
                away = np.abs(searched[pairs(values, searched), 0] - values[:, 0])
                agree_untold += list(away <= np.maximum(sigmas[:, 0], 1e-9))
    us, near, alone = np.array(ours), np.array(told), np.array(untold)
    return {
        "modes that lmfit fitted too": len(agree),
        "lmfit, told number and start, agrees within 1 sigma": float(np.mean(agree)),
        "lmfit, told nothing, finds as many modes": float(np.mean(same)),
        "lmfit, told nothing, agrees within 1 sigma where it finds as many": float(np.mean(agree_untold)),
        "our time (ms), median": 1e3 * float(np.median(us)),
        "lmfit, told number and start (ms), median": 1e3 * float(np.median(near)),
        "lmfit, told nothing as we are (ms), median": 1e3 * float(np.median(alone)),
        "times as fast as lmfit told number and start, median": float(np.median(near / us)),
        "times as fast as lmfit told nothing, median": float(np.median(alone / us)),
    }


def _seconds(model: OnnxModel, data: Spectrum, forward: Forward) -> float:
    """Network, refinement and signals; the best of three, as for a stream of spectra on one axis."""
    shape, best = forward.resolution, float("inf")
    for _ in range(3):
        began = time.thread_time()
        outputs = model.run(prepare(data, shape.fwhm, shape.lorentzian, forward.kT)[None])
        answer(forward, data, outputs, 0, zero_prior(shape.fwhm))
        best = min(best, time.thread_time() - began)
    return best


def latency(model: OnnxModel, seed: int) -> None:
    """A usual spectrum: 161 points, one and two modes."""
    energy, rng = np.linspace(-30.0, 40.0, 161), np.random.default_rng(seed)
    forward = Forward(energy, Gaussian(1.5), 26.0)
    for modes in ([Mode(18.0, 1.0, 300.0)], [Mode(12.0, 1.0, 250.0), Mode(26.0, 2.0, 500.0)]):
        c, took, parts = Composition(len(modes)), [], []
        for _ in range(200):
            data = spectrum_of(energy, rng.poisson(forward(c, c.vector(modes, 900.0, 0.05, 2.0))[0]))
            began = time.thread_time()
            x = prepare(data, 1.5, 0.0, 26.0)[None]
            outputs = model.run(x)
            middle = time.thread_time()
            answer(forward, data, outputs, 0, zero_prior(1.5))
            took.append(time.thread_time() - began)
            parts.append(middle - began)
        began = time.thread_time()
        search(forward, data, zero_prior(1.5))
        searched = time.thread_time() - began
        print(
            f"{len(modes)} mode(s), 161 points: answer {1e3 * np.median(took):.2f} ms (p90 "
            f"{1e3 * np.quantile(took, 0.9):.2f}), of it network {1e3 * np.median(parts):.2f} ms; "
            f"classical search {1e3 * searched:.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="dho", help="NAME, NAME:VERSION or file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the test spectra")
    parser.add_argument("--spectra", type=int, default=400, help="per seed")
    parser.add_argument("--lmfit", type=int, default=40, help="spectra per seed to time it on; 0: no lmfit")
    parser.add_argument("--foreign", type=int, default=25, help="foreign spectra of each kind per seed")
    parser.add_argument("--latency", action="store_true", help="only the time that a usual spectrum takes")
    arguments = parser.parse_args()
    threadpool_limits(1, "blas")
    settings = InferenceSettings()
    model = OnnxModel(find_model(arguments.model, settings), settings)
    print(model.model_id, flush=True)
    if arguments.latency:
        latency(model, arguments.seeds[0])
        return
    rows: list[dict[str, float]] = []
    ranks: dict[str, list[float]] = {name: [] for name in PER_MODE}
    began = time.monotonic()
    for number, seed in enumerate(arguments.seeds, 1):
        library = build_library(arguments.spectra, 90_000 + seed)
        judged = judge(model.run, library, 91_000 + seed, arguments.spectra)
        found = accuracy(judged, model, ranks) | foreign(model, library, arguments.foreign, 92_000 + seed)
        if arguments.lmfit:
            found |= beside_lmfit(model, judged, arguments.lmfit, np.random.default_rng(93_000 + seed))
        rows.append(found)
        print(
            f"seed {seed} ({number} of {len(arguments.seeds)}): {arguments.spectra} spectra, "
            f"{time.monotonic() - began:.0f} s so far",
            flush=True,
        )
    for name, all_ranks in ranks.items():
        test = kstest(all_ranks, "uniform")
        tenths = np.histogram(all_ranks, 10, (0.0, 1.0))[0]
        print(
            f"ranks of the true {name}, all seeds ({len(all_ranks)}): largest distance from uniform "
            f"{test.statistic:.3f}, as far by chance in {test.pvalue:.1%}; by tenths "
            f"{' '.join(map(str, tenths))}"
        )
    for name in rows[0]:
        values = [float(r[name]) for r in rows]
        print(f"{name}: {' '.join(f'{v:.4g}' for v in values)}  (mean {np.mean(values):.4g})")
    latency(model, arguments.seeds[0])


if __name__ == "__main__":
    main()
