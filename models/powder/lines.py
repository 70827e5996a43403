"""All lines of all phases as arrays: profiles and their derivatives for the classical fit (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Drawn", "Lines", "Numbers", "lines_of", "reference_of"]

Array = npt.NDArray[np.float64]

_HALF_WINDOW_DEG = 2.4
_LN2 = float(np.log(2))

_SHARED = ("zero", "displacement", "width", "ka2", "polarisation")
_PER_PHASE = ("lorentz", "strain", "a", "c", "texture")
_KINDS = {name: i for i, name in enumerate((*_SHARED, *_PER_PHASE))}
_CENTRE, _GAUSS, _LORENTZ, _AREA = range(4)
_ACTS_ON = (_CENTRE, _CENTRE, _GAUSS, _AREA, _AREA, _LORENTZ, _LORENTZ, _CENTRE, _CENTRE, _AREA)
"""What each kind of parameter moves, in the order of ``_KINDS``."""

_START = {"zero": 0.0, "displacement": 0.0, "width": np.log(0.12), "ka2": 0.5, "polarisation": 0.85}
_SIGMA = {"zero": 0.03, "displacement": 0.06, "width": 0.5, "ka2": 0.15, "polarisation": 0.12}
_START_PHASE = {"lorentz": 0.06, "strain": 0.05, "a": 0.0, "c": 0.0, "texture": 0.0}
_SIGMA_PHASE = {"lorentz": 0.1, "strain": 0.1, "a": 0.002, "c": 0.002, "texture": 0.15}
_LOW = {"lorentz": 0.002, "strain": 0.0, "width": np.log(0.03), "ka2": 0.0, "polarisation": 0.0}
_HIGH = {"lorentz": 0.8, "strain": 1.0, "width": np.log(0.6), "ka2": 0.65, "polarisation": 1.0}


def reference_of(tables: Mapping[str, Any], wavelength_A: float, wavelength2_A: float) -> dict[str, Any]:
    """Return the card's ``reference`` field: per phase what :func:`lines_of` needs, as plain numbers.

    Parameters
    ----------
    tables : mapping of str to PhaseTable
        Reflection tables of the known phases.
    wavelength_A, wavelength2_A : float
        Wavelengths of K-alpha1 and K-alpha2 (angstrom).
    """
    phases = {}
    for name, table in tables.items():
        keep = table.d_A > wavelength_A / (2 * np.sin(np.deg2rad(52.0)))
        uniaxial = table.system in ("trigonal", "hexagonal", "tetragonal")
        phases[name] = {
            "hkl": table.hkl[keep].tolist(),
            "d_A": [round(float(d), 6) for d in table.d_A[keep]],
            "multiplicity": [int(m) for m in table.multiplicity[keep]],
            "f2": [float(f"{f:.6g}") for f in table.f2[keep]],
            "cell": [float(v) for v in table.cell],
            "system": table.system,
            "volume_A3": float(f"{table.volume_A3:.7g}"),
            "density_g_cm3": float(f"{table.density_g_cm3:.6g}"),
            "texture_cos": [round(float(c), 5) for c in table.texture_cos[keep].mean(1)] if uniaxial else [],
        }
    return {"wavelength_A": wavelength_A, "wavelength2_A": wavelength2_A, "phases": phases}


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of all phases, K-alpha1 and K-alpha2 as separate lines.

    Attributes
    ----------
    axis : ndarray, shape (n,)
        Bin centres (degrees 2theta), evenly spaced.
    phases : int
        Number of phases.
    spans : tuple of slice
        Lines of each phase.
    phase, wavelength, second : ndarray, shape (l,)
        Phase index, wavelength (angstrom) and whether the line is K-alpha2.
    strength : ndarray, shape (l,)
        m |F|^2 / (density V^2).
    stol2_ab, stol2_c : ndarray, shape (l,)
        Parts of (sin(theta) / lambda)^2 that scale with a (and b) and with c (1/square angstrom).
    cosine : ndarray, shape (l,)
        Cosine to the texture axis; negative where the phase has none.
    kind, owner : ndarray of int, shape (p,)
        What each parameter is, and the phase it belongs to (-1: all).
    start, prior_sigma, low, high : ndarray, shape (p,)
        Start values, prior widths and bounds of the parameters.
    """

    axis: Array
    phases: int
    spans: tuple[slice, ...]
    phase: npt.NDArray[np.int64]
    wavelength: Array
    second: npt.NDArray[np.bool_]
    strength: Array
    stol2_ab: Array
    stol2_c: Array
    cosine: Array
    kind: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]
    start: Array
    prior_sigma: Array
    low: Array
    high: Array

    def started(self, fwhm_deg: float) -> Array:
        """Return the start values with another Gaussian width (degrees)."""
        parameters = self.start.copy()
        parameters[self.kind == _KINDS["width"]] = np.log(fwhm_deg)
        return parameters

    def bound(self, parameters: Array) -> Array:
        """Clip parameters to their bounds."""
        return np.clip(parameters, self.low, self.high)

    def draw(self, parameters: Array) -> Drawn:
        """Draw every line at these parameters."""
        numbers = self._numbers(parameters)
        step = self.axis[1] - self.axis[0]
        half = int(_HALF_WINDOW_DEG / step)
        first = np.rint((numbers.centre - self.axis[0]) / step).astype(np.int64)
        index = first[:, None] + np.arange(-half, half + 1)
        x = self.axis[0] + index * step - numbers.centre[:, None]
        # what lies off the axis goes to an extra bin
        index[(index < 0) | (index >= self.axis.size)] = self.axis.size
        gauss, lorentz, u2 = _components(x, numbers.fwhm[:, None])
        eta = numbers.eta[:, None]
        shape = gauss + eta * (lorentz - gauss)
        return Drawn(index, x, u2, gauss, lorentz, shape, numbers)

    def profiles(self, drawn: Drawn) -> Array:
        """Return each phase's pattern per unit weight, shape (phases, n)."""
        n = self.axis.size + 1
        index = drawn.index + self.phase[:, None] * n
        values = drawn.shape * drawn.numbers.area[:, None]
        flat = np.bincount(index.ravel(), values.ravel(), self.phases * n)
        return np.asarray(flat.reshape(self.phases, n)[:, :-1])

    def jacobian(self, drawn: Drawn, scales: Array) -> Array:
        """Return the derivatives of the scaled sum of patterns by the parameters, shape (p, n)."""
        by = _by_shape(drawn, scales[self.phase])
        rows = np.zeros((self.kind.size, self.axis.size))
        for k, (kind, owner) in enumerate(zip(self.kind, self.owner, strict=True)):
            lines = slice(None) if owner < 0 else self.spans[owner]
            if owner >= 0 and scales[owner] == 0:
                continue
            values, factor = by[_ACTS_ON[kind]], drawn.numbers.slopes[kind]
            product = values[lines] * factor[lines, None]
            flat = np.bincount(drawn.index[lines].ravel(), product.ravel(), self.axis.size + 1)
            rows[k] = flat[:-1]
        return rows

    def _numbers(self, parameters: Array) -> Numbers:
        """Centre, FWHM (degrees), Lorentzian share and area of every line, and what moves them."""
        value = self._per_line(parameters)
        ab = self.stol2_ab / (1 + value["a"]) ** 2
        along_c = self.stol2_c / (1 + value["c"]) ** 2
        theta = np.arcsin(np.minimum(self.wavelength * np.sqrt(ab + along_c), 0.999))
        cos, tan = np.cos(theta), np.tan(theta)
        cos2 = np.cos(2 * theta) ** 2
        k, ratio = value["polarisation"], value["ka2"]
        texture, by_texture = self._texture(value["texture"])
        area = self.strength * (1 + k * cos2) / (1 + k) / (np.sin(theta) ** 2 * cos) * texture
        area *= np.where(self.second, ratio, 1.0) / (1 + ratio)
        gauss = np.exp(value["width"]) * np.ones_like(theta)
        lorentz = np.maximum(value["lorentz"] / cos + value["strain"] * tan, 0.0)
        fwhm, eta = _tch(gauss, lorentz)
        moved = 2 * tan / (ab + along_c)
        slopes = {
            "zero": np.ones_like(theta),
            "displacement": cos,
            "a": -np.rad2deg(moved * ab / (1 + value["a"])),
            "c": -np.rad2deg(moved * along_c / (1 + value["c"])),
            "width": gauss,
            "lorentz": 1 / cos,
            "strain": tan,
            "polarisation": cos2 / (1 + k * cos2) - 1 / (1 + k),
            "ka2": np.where(self.second, 1 / np.maximum(ratio, 1e-3), 0.0) - 1 / (1 + ratio),
            "texture": by_texture,
        }
        centre = np.rad2deg(2 * theta) + value["zero"] + value["displacement"] * cos
        by_gauss = _slope(gauss, lorentz, fwhm, eta, 1e-4, 0.0)
        by_lorentz = _slope(gauss, lorentz, fwhm, eta, 0.0, 1e-4)
        ordered = [slopes[name] for name in _KINDS]
        return Numbers(centre, fwhm, eta, np.maximum(area, 1e-12), by_gauss, by_lorentz, ordered)

    def _per_line(self, parameters: Array) -> dict[str, Any]:
        """Values of the parameters: numbers where shared, one per line where each phase has its own."""
        values: dict[str, Any] = {}
        for name, kind in _KINDS.items():
            found = self.kind == kind
            if name in _SHARED:
                values[name] = float(parameters[found][0])
                continue
            per_phase = np.zeros(self.phases)
            per_phase[self.owner[found]] = parameters[found]
            values[name] = per_phase[self.phase]
        return values

    def _texture(self, texture: Array) -> tuple[Array, Array]:
        """March-Dollase factor of each line, r = exp(texture), and the derivative of its logarithm."""
        r = np.exp(texture)
        cos2 = self.cosine**2
        inner = r**2 * cos2 + (1 - cos2) / r
        by_texture = -1.5 * (2 * r**2 * cos2 - (1 - cos2) / r) / inner
        without = self.cosine < 0
        return np.where(without, 1.0, inner**-1.5), np.where(without, 0.0, by_texture)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a line is drawn from, shape (l,) each, and the slopes of the parameters by kind."""

    centre: Array
    fwhm: Array
    eta: Array
    area: Array
    by_gauss: tuple[Array, Array]
    by_lorentz: tuple[Array, Array]
    slopes: list[Array]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Lines in their windows, shape (l, w), and the numbers they were drawn from."""

    index: npt.NDArray[np.int64]
    x: Array
    u2: Array
    gauss: Array
    lorentz: Array
    shape: Array
    numbers: Numbers


def _by_shape(drawn: Drawn, scales: Array) -> tuple[Array, Array, Array, Array]:
    """Derivatives of the scaled lines by position, Gaussian width, Lorentzian width and log area."""
    numbers = drawn.numbers
    height = (numbers.area * scales)[:, None]
    fwhm, eta = numbers.fwhm[:, None], numbers.eta[:, None]
    by_u2 = -height * ((1 - eta) * drawn.gauss * 4 * _LN2 + eta * drawn.lorentz * 4 / (1 + 4 * drawn.u2))
    by_centre = by_u2 * drawn.x * (-2 / fwhm**2)
    by_fwhm = (-height / fwhm) * drawn.shape - (2 / fwhm) * drawn.u2 * by_u2
    by_eta = height * (drawn.lorentz - drawn.gauss)
    by_gauss, by_lorentz = (
        by_fwhm * slope[0][:, None] + by_eta * slope[1][:, None]
        for slope in (numbers.by_gauss, numbers.by_lorentz)
    )
    return by_centre, by_gauss, by_lorentz, height * drawn.shape


def _slope(
    gauss: Array, lorentz: Array, fwhm: Array, eta: Array, dg: float, dl: float
) -> tuple[Array, Array]:
    """Finite-difference slopes of FWHM and Lorentzian share."""
    moved_fwhm, moved_eta = _tch(gauss + dg, lorentz + dl)
    return (moved_fwhm - fwhm) / (dg + dl), (moved_eta - eta) / (dg + dl)


def _tch(gauss: Array, lorentz: Array) -> tuple[Array, Array]:
    """Width and Lorentzian share (Thompson, Cox & Hastings 1987, J. Appl. Cryst. 20, 79)."""
    q = lorentz / gauss
    fifth = 1 + q * (2.69269 + q * (2.42843 + q * (4.47163 + q * (0.07842 + q))))
    fwhm = gauss * fifth**0.2
    ratio = lorentz / fwhm
    return fwhm, ratio * (1.36603 - ratio * (0.47719 - 0.11116 * ratio))


def _components(x: Array, fwhm: Array) -> tuple[Array, Array, Array]:
    """Gaussian and Lorentzian of unit area, and (x / FWHM)^2."""
    u2 = (x / fwhm) ** 2
    gauss = 2 * np.sqrt(_LN2 / np.pi) / fwhm * np.exp(-4 * _LN2 * np.minimum(u2, 20.0))
    return gauss, 2 / np.pi / fwhm / (1 + 4 * u2), u2


def lines_of(reference: Mapping[str, Any], labels: tuple[str, ...], axis: Array) -> Lines:
    """Build the lines from a card's ``reference`` field (see :func:`reference_of`).

    Parameters
    ----------
    reference : mapping
        The field.
    labels : tuple of str
        Phases in order.
    axis : ndarray, shape (n,)
        Even axis (degrees 2theta).
    """
    columns: dict[str, list[Any]] = {k: [] for k in ("phase", "wl", "second", "strength", "ab", "c", "cos")}
    for p, name in enumerate(labels):
        table = reference["phases"][name]
        d2 = 0.25 / np.asarray(table["d_A"], float) ** 2
        along_c = _along_c(table, d2)
        strength = np.asarray(table["multiplicity"], float) * np.asarray(table["f2"], float)
        strength = strength / (table["density_g_cm3"] * table["volume_A3"] ** 2)
        cosine = np.asarray(table["texture_cos"] or [-1.0] * d2.size, float)
        for second, wavelength in enumerate((reference["wavelength_A"], reference["wavelength2_A"])):
            columns["phase"].append(np.full(d2.size, p))
            columns["wl"].append(np.full(d2.size, wavelength))
            columns["second"].append(np.full(d2.size, bool(second)))
            columns["strength"].append(strength)
            columns["ab"].append(d2 - along_c)
            columns["c"].append(along_c)
            columns["cos"].append(cosine)
    one = {k: np.concatenate(v) for k, v in columns.items()}
    names, owners = _parameter_list(reference, labels)
    return Lines(
        axis, len(labels), _spans(one["phase"], len(labels)),
        phase=one["phase"],
        wavelength=one["wl"],
        second=one["second"],
        strength=one["strength"],
        stol2_ab=one["ab"],
        stol2_c=one["c"],
        cosine=one["cos"],
        kind=np.array([_KINDS[n] for n in names]),
        owner=np.array(owners),
        start=np.array([(_START | _START_PHASE)[n] for n in names]),
        prior_sigma=np.array([(_SIGMA | _SIGMA_PHASE)[n] for n in names]),
        low=np.array([_LOW.get(n, -0.5) for n in names]),
        high=np.array([_HIGH.get(n, 0.5) for n in names]),
    )  # fmt: skip


def _along_c(table: Mapping[str, Any], stol2: Array) -> Array:
    """Part of (sin(theta) / lambda)^2 that scales with c alone; zero for cubic phases."""
    if table["system"] == "cubic":
        return np.zeros_like(stol2)
    return np.asarray(0.25 * (np.asarray(table["hkl"], float)[:, 2] / table["cell"][2]) ** 2)


def _parameter_list(reference: Mapping[str, Any], labels: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Names and owners of the parameters: cubic phases have neither c nor texture."""
    names, owners = list(_SHARED), [-1] * len(_SHARED)
    for p, label in enumerate(labels):
        cubic = reference["phases"][label]["system"] == "cubic"
        mine = [n for n in _PER_PHASE if not (cubic and n in ("c", "texture"))]
        names += mine
        owners += [p] * len(mine)
    return names, owners


def _spans(phase: npt.NDArray[np.int64], phases: int) -> tuple[slice, ...]:
    """Lines of each phase; they lie together."""
    ends = np.searchsorted(phase, np.arange(phases + 1))
    return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
