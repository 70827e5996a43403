"""Which second line belongs to the first: K-alpha doublets of laboratory tubes."""

from __future__ import annotations

from streamproc.errors import ConfigurationError

__all__ = ["DOUBLETS_A", "second_line"]

DOUBLETS_A = {
    "Cr": (2.2897260, 2.2936510),
    "Fe": (1.9360410, 1.9399730),
    "Co": (1.7889960, 1.7928350),
    "Cu": (1.5405929, 1.5444274),
    "Mo": (0.7093172, 0.7136070),
    "Ag": (0.5594218, 0.5638131),
}
"""K-alpha1 and K-alpha2 (angstrom): Hoelzer et al. 1997, Phys. Rev. A 56, 4554 (Cr to Cu); Deslattes et al.
2003, Rev. Mod. Phys. 75, 35 (Mo, Ag)."""

_NEAR = 2e-4
"""The mean of the two lines, 1.5418 for copper, is no K-alpha1."""


def second_line(wavelength_A: float) -> float:
    """Return the K-alpha2 wavelength (angstrom) that belongs to a K-alpha1.

    Raises
    ------
    ConfigurationError
        When the wavelength is no K-alpha1 of a common anode.
    """
    for first, second in DOUBLETS_A.values():
        if abs(wavelength_A / first - 1) < _NEAR:
            return wavelength_A * second / first
    known = ", ".join(f"{anode} {first:.4f}" for anode, (first, _) in DOUBLETS_A.items())
    raise ConfigurationError(
        f"--ka2 needs the K-alpha1 wavelength of a tube ({known}), got {wavelength_A:g}; "
        "a synchrotron beam has no second line"
    )
