"""All lines of all phases as arrays: profiles and their derivatives for the classical fit (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Lines", "lines_of", "reference_of"]

Array = npt.NDArray[np.float64]

_HALF_WINDOW_DEG = 3.2
_LN2 = float(np.log(2))

_SHARED = ("zero", "displacement", "width", "ka2", "polarisation")
_PER_PHASE = ("lorentz", "strain", "a", "c", "texture")
_KINDS = {name: i for i, name in enumerate((*_SHARED, *_PER_PHASE))}

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

    def bound(self, parameters: Array) -> Array:
        """Clip parameters to their bounds."""
        return np.clip(parameters, self.low, self.high)

    def profiles(self, parameters: Array) -> Array:
        """Return each phase's pattern per unit weight, shape (phases, n)."""
        state = self._state(parameters)
        return self._gather(state, state.shape, self.phase, self.phases)

    def jacobian(self, parameters: Array, scales: Array) -> Array:
        """Return the derivatives of the scaled sum of patterns by the parameters, shape (n, p)."""
        state = self._state(parameters)
        columns = np.zeros((self.axis.size, parameters.size))
        weight = scales[self.phase]
        for k in range(parameters.size):
            mine = np.flatnonzero((weight > 0) & ((self.owner[k] < 0) | (self.phase == self.owner[k])))
            if mine.size:
                columns[:, k] = self._column(k, parameters, state, weight, mine)
        return columns

    def _column(
        self, k: int, parameters: Array, state: _State, weight: Array, mine: npt.NDArray[np.int64]
    ) -> Array:
        """Derivative by one parameter, by a finite difference of the few numbers that make each line."""
        delta = 1e-5 if self.kind[k] in (_KINDS["a"], _KINDS["c"]) else 1e-3
        moved = parameters.copy()
        moved[k] += delta
        centre, fwhm, eta, area = (v[mine] for v in self._numbers(moved))
        d_centre, d_fwhm = (centre - state.centre[mine]) / delta, (fwhm - state.fwhm[mine]) / delta
        d_eta, d_area = (eta - state.eta[mine]) / delta, (area - state.area[mine]) / delta
        shape = np.zeros((mine.size, state.shape.shape[1]))
        if np.any(d_centre):
            shape -= (d_centre * state.area[mine])[:, None] * state.by_x[mine]
        if np.any(d_fwhm):
            shape += (d_fwhm * state.area[mine])[:, None] * state.by_fwhm[mine]
            shape += (d_eta * state.area[mine])[:, None] * state.by_eta[mine]
        if np.any(d_area):
            shape += (d_area / state.area[mine])[:, None] * state.shape[mine]
        total = np.bincount(
            state.index[mine].ravel(), (shape * weight[mine][:, None]).ravel(), self.axis.size + 1
        )
        return np.asarray(total[:-1])

    def _gather(self, state: _State, values: Array, group: npt.NDArray[np.int64], groups: int) -> Array:
        """Sum windows into one pattern per group; the last column takes what lies off the axis."""
        n = self.axis.size + 1
        flat = np.bincount((state.index + group[:, None] * n).ravel(), values.ravel(), groups * n)
        return np.asarray(flat.reshape(groups, n)[:, :-1])

    def _value(self, parameters: Array, kind: str) -> Array | float:
        """Value of a parameter, per line where each phase has its own (0 where a phase has none)."""
        found = np.flatnonzero(self.kind == _KINDS[kind])
        if kind in _SHARED:
            return float(parameters[found[0]])
        per_phase = np.zeros(self.phases)
        per_phase[self.owner[found]] = parameters[found]
        return np.asarray(per_phase[self.phase])

    def _numbers(self, parameters: Array) -> tuple[Array, Array, Array, Array]:
        """Centre, FWHM (degrees), Lorentzian share and area of every line."""
        a, c = self._value(parameters, "a"), self._value(parameters, "c")
        sine = self.wavelength * np.sqrt(self.stol2_ab / (1 + a) ** 2 + self.stol2_c / (1 + c) ** 2)
        theta = np.arcsin(np.minimum(sine, 0.999))
        cos, tan = np.cos(theta), np.tan(theta)
        centre = np.rad2deg(2 * theta) + self._value(parameters, "zero")
        centre = centre + self._value(parameters, "displacement") * cos
        gauss = np.exp(self._value(parameters, "width")) * np.ones(theta.size)
        lorentz = self._value(parameters, "lorentz") / cos + self._value(parameters, "strain") * tan
        fwhm, eta = _tch(gauss, np.maximum(lorentz, 0.0))
        k = self._value(parameters, "polarisation")
        ratio = self._value(parameters, "ka2")
        area = self.strength * (1 + k * np.cos(2 * theta) ** 2) / (1 + k) / (np.sin(theta) ** 2 * cos)
        area = area * np.where(self.second, ratio, 1.0) / (1 + ratio) * self._texture(parameters)
        return centre, fwhm, eta, np.maximum(area, 1e-12)

    def _texture(self, parameters: Array) -> Array:
        """March-Dollase factor of each line, r = exp(texture)."""
        r = np.exp(self._value(parameters, "texture"))
        cos2 = self.cosine**2
        return np.where(self.cosine < 0, 1.0, (r**2 * cos2 + (1 - cos2) / r) ** -1.5)

    def _state(self, parameters: Array) -> _State:
        """Windows, profiles and their derivatives by position, width and Lorentzian share."""
        centre, fwhm, eta, area = self._numbers(parameters)
        step = self.axis[1] - self.axis[0]
        half = int(_HALF_WINDOW_DEG / step)
        offsets = np.arange(-half, half + 1)
        index = np.rint((centre - self.axis[0]) / step).astype(np.int64)[:, None] + offsets
        x = self.axis[0] + index * step - centre[:, None]
        off = (index < 0) | (index >= self.axis.size)
        index[off] = self.axis.size
        gauss, lorentz, by_x, by_fwhm = _profiles(x, fwhm[:, None], eta[:, None])
        shape = area[:, None] * (eta[:, None] * lorentz + (1 - eta[:, None]) * gauss)
        return _State(index, shape, by_x, by_fwhm, lorentz - gauss, centre, fwhm, eta, area)


@dataclass(frozen=True, slots=True)
class _State:
    """Lines drawn in their windows, shapes (l, w), and the numbers they were drawn from, shape (l,)."""

    index: npt.NDArray[np.int64]
    shape: Array
    by_x: Array
    by_fwhm: Array
    by_eta: Array
    centre: Array
    fwhm: Array
    eta: Array
    area: Array


def _tch(gauss: Array, lorentz: Array) -> tuple[Array, Array]:
    """Width and Lorentzian share (Thompson, Cox & Hastings 1987, J. Appl. Cryst. 20, 79)."""
    g, x = gauss, lorentz
    fifth = (
        g**5 + 2.69269 * g**4 * x + 2.42843 * g**3 * x**2 + 4.47163 * g**2 * x**3 + 0.07842 * g * x**4 + x**5
    )
    fwhm = fifth**0.2
    ratio = x / fwhm
    return fwhm, 1.36603 * ratio - 0.47719 * ratio**2 + 0.11116 * ratio**3


def _profiles(x: Array, fwhm: Array, eta: Array) -> tuple[Array, Array, Array, Array]:
    """Gaussian and Lorentzian of unit area, and the mixture's derivatives by x and by FWHM."""
    u2 = (x / fwhm) ** 2
    gauss = 2 * np.sqrt(_LN2 / np.pi) / fwhm * np.exp(-4 * _LN2 * np.minimum(u2, 20.0))
    lorentz = 2 / np.pi / fwhm / (1 + 4 * u2)
    by_u2 = -(1 - eta) * gauss * 4 * _LN2 - eta * lorentz * 4 / (1 + 4 * u2)
    by_fwhm = -(eta * lorentz + (1 - eta) * gauss) / fwhm - 2 * u2 / fwhm * by_u2
    return gauss, lorentz, by_u2 * 2 * x / fwhm**2, by_fwhm


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
        axis, len(labels), one["phase"], one["wl"], one["second"], one["strength"],
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
