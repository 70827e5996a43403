"""How atoms scatter and absorb X-rays: form factors, anomalous dispersion, absorption."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["HC_EV_A", "WAVELENGTHS_A", "absorption_per_cm", "dispersion", "form_factor"]

Array = npt.NDArray[np.float64]

HC_EV_A = 12398.41984
"""Planck's constant times the speed of light (eV angstrom), CODATA 2018."""

WAVELENGTHS_A = (0.1, 3.0)
"""Wavelengths (angstrom) that are accepted; beyond, f' and f'' of the tables are not to be trusted."""

_ELECTRON_RADIUS_A = 2.8179403262e-5
_SPIKED_FROM, _SPIKED_BELOW_A = 79, 0.155
"""From gold on, f' as it is computed jumps by tens of electrons at some wavelengths beyond the K edge;
there the median over +-8 % of the wavelength is taken."""

_TABULATED = range(3, 93)
"""Atomic numbers gemmi has Cromer-Liberman orbitals for; lighter atoms have next to none."""


def form_factor(symbol: str, stol: Array) -> Array:
    """Free-atom form factor (electrons) at sin(theta) / lambda (International Tables C, 6.1.1.4)."""
    import gemmi

    fit = gemmi.Element(symbol).it92
    return np.asarray(sum(a * np.exp(-b * stol**2) for a, b in zip(fit.a, fit.b, strict=True)) + fit.c)


def dispersion(elements: Iterable[str], wavelength_A: float) -> dict[str, tuple[float, float]]:
    """Return f' and f'' (electrons) of each element.

    Parameters
    ----------
    elements : iterable of str
        Chemical symbols.
    wavelength_A : float
        Wavelength (angstrom).

    Returns
    -------
    dict
        Cromer & Liberman 1981, Acta Cryst. A37, 267, as gemmi computes them; zeros for H and He.

    Raises
    ------
    ConfigurationError
        When the wavelength is outside :data:`WAVELENGTHS_A`, or an element is heavier than uranium.
    """
    import gemmi

    low, high = WAVELENGTHS_A
    if not low <= wavelength_A <= high:
        raise ConfigurationError(
            f"wavelength {wavelength_A:g} angstrom is outside {low:g} to {high:g}, where the anomalous "
            "scattering f', f'' can be computed; give the wavelength in angstrom (Cu K-alpha is 1.5406)"
        )
    found = {}
    for symbol in dict.fromkeys(elements):
        number = gemmi.Element(symbol).atomic_number
        if number > _TABULATED[-1]:
            raise ConfigurationError(
                f"element {symbol} (number {number}): f' and f'' are known up to uranium (92) only, so this "
                "phase cannot be simulated"
            )
        found[symbol] = _cromer_liberman(number, wavelength_A) if number in _TABULATED else (0.0, 0.0)
    return found


def _cromer_liberman(number: int, wavelength_A: float) -> tuple[float, float]:
    """f' and f'' of an element, without the spikes that f' has beyond the K edges of heavy elements."""
    import gemmi

    def at(wavelength: float) -> tuple[float, float]:
        f1, f2 = gemmi.cromer_liberman(z=number, energy=HC_EV_A / wavelength)
        return float(f1), float(f2)

    f1, f2 = at(wavelength_A)
    if number >= _SPIKED_FROM and wavelength_A < _SPIKED_BELOW_A:
        f1 = float(np.median([at(wavelength_A * factor)[0] for factor in np.linspace(0.92, 1.08, 17)]))
    return f1, f2


def absorption_per_cm(
    content: Sequence[tuple[str, float]],
    volume_A3: float,
    anomalous: dict[str, tuple[float, float]],
    wavelength_A: float,
) -> float:
    """Return the linear photoelectric absorption coefficient (1/cm) by the optical theorem.

    mu = 2 r_e lambda sum(f'') / V (International Tables C, 4.2.3); scattering is left out, a few per cent for
    light elements at short wavelengths.

    Parameters
    ----------
    content : sequence of (symbol, number)
        Atoms in the cell.
    volume_A3 : float
        Cell volume.
    anomalous : dict
        f' and f'' of each element.
    wavelength_A : float
        Wavelength (angstrom).
    """
    total = sum(number * max(anomalous[symbol][1], 0.0) for symbol, number in content)
    return float(2 * _ELECTRON_RADIUS_A * wavelength_A * total / volume_A3 * 1e8)
