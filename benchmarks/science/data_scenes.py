"""Sound series for :mod:`data_flags`: simulated detectors, measured frames and patterns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from data_faults import Scene, thinned

from streamproc.frames.pattern_files import read_image, read_pattern
from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.geometry import Geometry, load_geometry

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
READINGS = 16
CUKA_A = 1.5406

Scenes = Iterator[tuple[Scene, FrameReader | None]]


def lines(random: np.random.Generator, wavelength: float, top: float) -> list[tuple[float, float]]:
    """Return angles and strengths of a cubic powder, primitive or centred."""
    a = random.uniform(3.6, 5.6)
    centred = random.random() < 0.6
    found = []
    for n in range(1, 60):
        hkl = {tuple(sorted((h, k, m))) for h in range(8) for k in range(8) for m in range(8)
               if h * h + k * k + m * m == n}  # fmt: skip
        if not hkl or (centred and not any(len({v % 2 for v in t}) == 1 for t in hkl)):
            continue
        sine = wavelength * np.sqrt(n) / (2 * a)
        if sine < np.sin(np.deg2rad(top / 2)):
            found.append((2 * np.rad2deg(np.arcsin(sine)), random.uniform(0.2, 1) / (1 + n / 8)))
    return found


def detector(random: np.random.Generator, side: int) -> tuple[Geometry, np.ndarray[Any, Any], Any]:
    """Return a geometry, 2theta of each pixel (degrees) and azimuth (degrees)."""
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    pixel = 0.2 / side
    centre = random.uniform(0.08, 0.12, 2)
    integrator = AzimuthalIntegrator(
        random.uniform(0.16, 0.3), *centre, *random.uniform(-0.05, 0.05, 2), 0.0,
        detector=Detector(pixel, pixel, max_shape=(side, side)), wavelength=random.uniform(2.5e-11, 9e-11),
    )  # fmt: skip
    angle = np.rad2deg(integrator.center_array((side, side), unit="2th_rad"))
    chi = integrator.center_array((side, side), unit="chi_deg")
    return Geometry.of(integrator, "simulated", ""), angle, chi


def simulated_frames(seed: int, data: Path) -> Scenes:
    """Detectors with a drifting lattice, textures and widths from sharp to broad: none of it is a fault."""
    variants = [("u2", 65000.0, False), ("i4", 1e6, True), ("u4", 4e6, False), ("u2", 60000.0, True)]
    for number, (dtype, limit, gaps) in enumerate(variants):
        random = np.random.default_rng([seed, number])
        side = int(random.choice([384, 512, 640]))
        geometry, angle, chi = detector(random, side)
        wavelength, step = float(geometry.wavelength_A or 0), float(np.ptp(angle)) / 600
        width, level = random.uniform(2.5, 9.0) * step, random.choice([8.0, 40.0, 300.0])
        textured, strain = random.uniform(0, 0.6), random.uniform(0, 4e-4)
        valid = np.ones((side, side), bool)
        if gaps:
            valid[side // 3 : side // 3 + 17] = False
            valid[:, side // 2 : side // 2 + 7] = False
        sticks = lines(random, wavelength, float(angle.max()))
        images = []
        for k in range(READINGS):
            image = level * (0.4 + np.exp(-angle / 12))
            for at, strength in sticks:
                moved = at - 2 * np.rad2deg(np.tan(np.deg2rad(at / 2))) * strain * k
                ring = np.exp(-0.5 * ((angle - moved) / (width / 2.355 * (1 + 0.01 * k))) ** 2)
                # a line that broadens keeps its area: its intensity has not changed
                image += (
                    8
                    * level
                    * strength
                    / (1 + 0.01 * k)
                    * ring
                    * (1 + textured * np.cos(np.deg2rad(2 * chi + 50 * at)))
                )
            images.append(image)
        dark = random.uniform(80, 120, (side, side)) if number == 3 else None
        gap = -1.0 if dtype == "i4" else 0.0
        scene = Scene(
            f"frames {number} ({dtype}, {side}, level {level:g}, texture {textured:.1f})", images, angle,
            wavelength, dtype, limit, valid, gap, dark, True, step, width / step,
        )  # fmt: skip
        mask = None if dtype == "i4" else ~valid
        plan = AzimuthalPlan.build(
            geometry, Correction(mask=mask, saturation=limit), PlanOptions(600), shape=(side, side)
        )
        yield scene, FrameReader(plan, FlagSettings(saturation=limit))


def simulated_patterns(seed: int, data: Path) -> Scenes:
    """Laboratory patterns whose lattice expands and whose lines broaden.

    The second four have lines 80 times the floor instead of 12, from three lattices: lines in all parts.
    """
    for number in range(8):
        random = np.random.default_rng([seed, 100 + number])
        n, width = int(random.choice([1200, 3000, 6000])), random.uniform(0.08, 0.4)
        axis = np.linspace(12, 110, n)
        width = max(width, 3.5 * (axis[1] - axis[0]))
        level, strain = random.choice([20.0, 200.0, 1500.0]), random.uniform(0, 4e-4)
        height, lattices = (12, 1) if number < 4 else (80, 3)
        sticks = [stick for _ in range(lattices) for stick in lines(random, CUKA_A, 110.0)]
        images = []
        for k in range(READINGS):
            y = level * (0.5 + np.exp(-axis / 25))
            for at, strength in sticks:
                moved = at - 2 * np.rad2deg(np.tan(np.deg2rad(at / 2))) * strain * k
                y = y + height * level * strength / (1 + 0.01 * k) * np.exp(
                    -0.5 * ((axis - moved) / (width / 2.355 * (1 + 0.01 * k))) ** 2
                )
            images.append(y)
        step = float(axis[1] - axis[0])
        yield Scene(
            f"patterns {number} ({n} channels, level {level:g}, lines {height})", images, axis, CUKA_A, "f8",
            np.inf,
            np.ones(n, bool), step=step, width=width / step,
        ), None  # fmt: skip


def measured_frames(seed: int, data: Path) -> Scenes:
    """The CeO2 frame of a Pilatus 1M, half of its counts drawn anew for each reading."""
    folder = data / "img2d_CeO2_pilatus"
    image, geometry = read_image(folder / "CeO2_Pilatus1M.tif"), load_geometry(folder / "CeO2_Pilatus1M.poni")
    plan = AzimuthalPlan.build(geometry, None, PlanOptions(1000, flip="rows"), shape=image.shape)
    integrator = geometry.integrator(image.shape)
    angle = np.flipud(np.rad2deg(integrator.center_array(image.shape, unit="2th_rad")))
    random = np.random.default_rng([seed, 7])
    step = float(plan.axis[1] - plan.axis[0])
    scene = Scene(
        "CeO2", [], angle, geometry.wavelength_A, "i4", 2.0**20 - 1, image >= 0, -1.0, None, True, step, 3.0
    )
    yield thinned(scene, [image] * READINGS, random), FrameReader(plan, FlagSettings(saturation=2.0**20 - 1))


def width_of_strongest(y: np.ndarray[Any, Any]) -> float:
    """Return the full width at half maximum (channels) of the strongest line above the pattern's median."""
    top, floor = int(np.argmax(y)), float(np.median(y))
    low = np.flatnonzero(y < 0.5 * (y[top] + floor))
    before, after = low[low < top], low[low > top]
    first = float(before[-1]) if before.size else 0.0
    return (float(after[0]) if after.size else float(y.size - 1)) - first - 1.0


def measured_patterns(seed: int, data: Path) -> Scenes:
    """Patterns of the round robin and of the oxides, thinned.

    A drift is a share of the width of a line, so that width is taken from the pattern: that of its strongest
    line.
    """
    files = sorted((data / "iucr_qarr").glob("*.prn")) + sorted(
        (data / "xrd_autoanalyzer" / "spectra").glob("*.xy")
    )
    for number, file in enumerate(files):
        pattern = read_pattern(file)
        axis, y = np.asarray(pattern.axis, float), np.asarray(pattern.intensity, float)
        random = np.random.default_rng([seed, 200 + number])
        step = float(np.median(np.diff(axis)))
        width = width_of_strongest(y)
        scene = Scene(
            file.stem, [], axis, CUKA_A, "f8", np.inf, np.ones(y.size, bool), step=step, width=width
        )
        yield thinned(scene, [y] * READINGS, random), None


def measured_series(data: Path) -> Iterator[Scene]:
    """Series as they were measured: BaTiO3 over temperature, two composition spreads."""
    names = sorted((data / "insitu_BaTiO3").glob("*.npy"))
    heated = [np.load(name).ravel() for name in names]
    axis = np.linspace(0.5, 25, heated[0].size)
    yield _as_is("BaTiO3", heated, axis, None)
    table = np.loadtxt(data / "comb_FeGaPd" / "FeGaPd_XRD.txt", delimiter=",")
    yield _as_is("FeGaPd", list(table[1:]), table[0], CUKA_A)
    q, spread = (
        np.load(data / "comb_CrFeVO" / "CrFeVO_q.npy"),
        np.load(data / "comb_CrFeVO" / "CrFeVO_data.npy"),
    )
    yield _as_is("CrFeVO", list(spread), 2 * np.rad2deg(np.arcsin(q / 10 * CUKA_A / (4 * np.pi))), CUKA_A)


def _as_is(name: str, patterns: list[Any], axis: Any, wavelength_A: float | None) -> Scene:
    return Scene(
        name, patterns, np.asarray(axis, float), wavelength_A, "f8", np.inf, np.ones(len(axis), bool)
    )
