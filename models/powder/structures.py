# ruff: noqa: E501  (a table reads better with one material a row)
"""Crystal structures the simulator knows: the four phases of the model and materials that play the unknown.

Structure parameters are facts; each entry names the paper they were taken from. Isotropic displacement
parameters ``b_A2`` of the four phases are those of ``SCIENCE.md`` D1 (they matter: with one value for all,
measured mixtures were read 1 wt% worse); those of the other materials are typical room-temperature values.
"""

from __future__ import annotations

from streamproc.models.powder.crystal import Site, Structure

__all__ = ["HELD_OUT", "KNOWN", "UNKNOWN", "Site", "Structure", "structure", "structures"]

KNOWN = ("corundum", "zincite", "fluorite", "brucite")
"""Phases the model quantifies, in the order of its outputs."""

UNKNOWN = (
    "quartz", "rutile", "anatase", "halite", "hematite", "magnetite", "silicon", "ceria", "periclase", "nickel",
    "iron", "aluminium", "copper", "wurtzite", "sphalerite", "gallium nitride", "strontium fluoride",
    "strontium titanate", "forsterite", "portlandite", "lime", "manganosite", "aragonite", "magnesite",
)  # fmt: skip
"""Materials mixed into training patterns as what the model must not know."""

HELD_OUT = (
    "zircon", "calcite", "lanthanum hexaboride", "spinel", "eskolaite", "cuprite", "sylvite", "tungsten",
    "baddeleyite", "yttria", "graphite", "lithium fluoride",
)  # fmt: skip
"""Materials never seen in training: the abstention figures are measured on these."""


def _cubic(a: float) -> tuple[float, float, float, float, float, float]:
    return (a, a, a, 90.0, 90.0, 90.0)


def _tetragonal(a: float, c: float) -> tuple[float, float, float, float, float, float]:
    return (a, a, c, 90.0, 90.0, 90.0)


def _hexagonal(a: float, c: float) -> tuple[float, float, float, float, float, float]:
    return (a, a, c, 90.0, 90.0, 120.0)


def _sites(*rows: tuple[str, float, float, float]) -> tuple[Site, ...]:
    return tuple(Site(*row) for row in rows)


def _known() -> list[Structure]:
    third, two = 1 / 3, 2 / 3
    return [
        Structure(
            "corundum", "R -3 c:H", _hexagonal(4.75919, 12.99183),
            _sites(("Al", 0, 0, 0.35216), ("O", 0.30624, 0, 0.25)), 0.30, (0, 0, 1),
            "Lewis, Schwarzenbach & Flack 1982, Acta Cryst. A38, 733",
        ),
        Structure(
            "zincite", "P 63 m c", _hexagonal(3.24986, 5.20662),
            _sites(("Zn", third, two, 0), ("O", third, two, 0.3821)), 0.55, (0, 0, 1),
            "Abrahams & Bernstein 1969, Acta Cryst. B25, 1233; Kisi & Elcombe 1989, Acta Cryst. C45, 1867",
        ),
        Structure(
            "fluorite", "F m -3 m", _cubic(5.4631), _sites(("Ca", 0, 0, 0), ("F", 0.25, 0.25, 0.25)), 0.65,
            (1, 1, 1), "Batchelder & Simmons 1964, J. Chem. Phys. 41, 2324 (COD 5000222)",
        ),
        Structure(
            "brucite", "P -3 m 1", _hexagonal(3.1464, 4.7680),
            _sites(("Mg", 0, 0, 0), ("O", third, two, 0.2203), ("H", third, two, 0.4130)), 0.90, (0, 0, 1),
            "Catti, Ferraris, Hull & Pavese 1995, Phys. Chem. Miner. 22, 200",
        ),
    ]  # fmt: skip


def _oxides() -> list[Structure]:
    third, two = 1 / 3, 2 / 3
    return [
        Structure(
            "quartz", "P 32 2 1", _hexagonal(4.9134, 5.4052),
            _sites(("Si", 0.4697, 0, two), ("O", 0.4135, 0.2669, 0.7858)), 0.7, (0, 0, 1),
            "Levien, Prewitt & Weidner 1980, Am. Mineral. 65, 920",
        ),
        Structure(
            "rutile", "P 42/m n m", _tetragonal(4.5937, 2.9587), _sites(("Ti", 0, 0, 0), ("O", 0.3053, 0.3053, 0)),
            0.5, (1, 1, 0), "Abrahams & Bernstein 1971, J. Chem. Phys. 55, 3206",
        ),
        Structure(
            "anatase", "I 41/a m d:1", _tetragonal(3.7845, 9.5143), _sites(("Ti", 0, 0, 0), ("O", 0, 0, 0.2081)),
            0.5, (0, 0, 1), "Howard, Sabine & Dickson 1991, Acta Cryst. B47, 462",
        ),
        Structure(
            "hematite", "R -3 c:H", _hexagonal(5.0356, 13.7489),
            _sites(("Fe", 0, 0, 0.35530), ("O", 0.3059, 0, 0.25)), 0.4, (0, 0, 1),
            "Blake et al. 1966, Am. Mineral. 51, 123 (cell: Maslen et al. 1994, Acta Cryst. B50, 435)",
        ),
        Structure(
            "eskolaite", "R -3 c:H", _hexagonal(4.9573, 13.5923),
            _sites(("Cr", 0, 0, 0.3475), ("O", 0.3050, 0, 0.25)), 0.4, (0, 0, 1),
            "Newnham & de Haan 1962, Z. Kristallogr. 117, 235",
        ),
        Structure(
            "magnetite", "F d -3 m:2", _cubic(8.3969),
            _sites(("Fe", 0.125, 0.125, 0.125), ("Fe", 0.5, 0.5, 0.5), ("O", 0.2549, 0.2549, 0.2549)), 0.5,
            (1, 1, 1), "Fleet 1981, Acta Cryst. B37, 917",
        ),
        Structure(
            "spinel", "F d -3 m:2", _cubic(8.0831),
            _sites(("Mg", 0.125, 0.125, 0.125), ("Al", 0.5, 0.5, 0.5), ("O", 0.2624, 0.2624, 0.2624)), 0.4,
            (1, 1, 1), "Redfern et al. 1999, Am. Mineral. 84, 299",
        ),
        Structure(
            "ceria", "F m -3 m", _cubic(5.4113), _sites(("Ce", 0, 0, 0), ("O", 0.25, 0.25, 0.25)), 0.4, (1, 1, 1),
            "NIST SRM 674b",
        ),
        Structure(
            "yttria", "I a -3", _cubic(10.604),
            _sites(("Y", 0.25, 0.25, 0.25), ("Y", 0.9675, 0, 0.25), ("O", 0.391, 0.152, 0.380)), 0.4, (1, 1, 1),
            "Paton & Maslen 1965, Acta Cryst. 19, 307",
        ),
        Structure(
            "baddeleyite", "P 1 21/c 1", (5.1505, 5.2116, 5.3173, 90.0, 99.230, 90.0),
            _sites(("Zr", 0.2754, 0.0395, 0.2083), ("O", 0.0700, 0.3317, 0.3447), ("O", 0.4496, 0.7569, 0.4792)),
            0.4, (1, 0, 0), "Howard, Hill & Reichert 1988, Acta Cryst. B44, 116",
        ),
        Structure(
            "periclase", "F m -3 m", _cubic(4.2117), _sites(("Mg", 0, 0, 0), ("O", 0.5, 0.5, 0.5)), 0.3, (1, 1, 1),
            "Hazen 1976, Am. Mineral. 61, 266",
        ),
        Structure(
            "lime", "F m -3 m", _cubic(4.8105), _sites(("Ca", 0, 0, 0), ("O", 0.5, 0.5, 0.5)), 0.4, (1, 1, 1),
            "Wyckoff 1963, Crystal Structures 1, 85",
        ),
        Structure(
            "manganosite", "F m -3 m", _cubic(4.4457), _sites(("Mn", 0, 0, 0), ("O", 0.5, 0.5, 0.5)), 0.5,
            (1, 1, 1), "Sasaki et al. 1979, Proc. Jpn Acad. B55, 43",
        ),
        Structure(
            "cuprite", "P n -3 m:1", _cubic(4.2696), _sites(("Cu", 0.25, 0.25, 0.25), ("O", 0, 0, 0)), 1.0,
            (1, 1, 1), "Kirfel & Eichhorn 1990, Acta Cryst. A46, 271",
        ),
        Structure(
            "strontium titanate", "P m -3 m", _cubic(3.9051),
            _sites(("Sr", 0, 0, 0), ("Ti", 0.5, 0.5, 0.5), ("O", 0.5, 0.5, 0)), 0.5, (1, 0, 0),
            "Mitchell et al. 2000, Appl. Phys. A 71, 541",
        ),
        Structure(
            "portlandite", "P -3 m 1", _hexagonal(3.5890, 4.9110),
            _sites(("Ca", 0, 0, 0), ("O", third, two, 0.2341), ("H", third, two, 0.4248)), 1.0, (0, 0, 1),
            "Desgranges et al. 1993, Acta Cryst. B49, 812",
        ),
        Structure(
            "forsterite", "P b n m", (4.7540, 10.1971, 5.9806, 90.0, 90.0, 90.0),
            _sites(
                ("Mg", 0, 0, 0), ("Mg", 0.9915, 0.2774, 0.25), ("Si", 0.4262, 0.0940, 0.25),
                ("O", 0.7657, 0.0913, 0.25), ("O", 0.2215, 0.4474, 0.25), ("O", 0.2777, 0.1628, 0.0331),
            ), 0.4, (0, 1, 0), "Fujino et al. 1981, Acta Cryst. B37, 513",
        ),
        Structure(
            "zircon", "I 41/a m d:2", _tetragonal(6.6070, 5.9820),
            _sites(("Zr", 0, 0.75, 0.125), ("Si", 0, 0.25, 0.375), ("O", 0, 0.0661, 0.1953)), 0.3, (1, 0, 0),
            "Hazen & Finger 1979, Am. Mineral. 64, 196",
        ),
    ]  # fmt: skip


def _others() -> list[Structure]:
    third, two = 1 / 3, 2 / 3
    return [
        Structure(
            "halite", "F m -3 m", _cubic(5.6402), _sites(("Na", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)), 1.6, (1, 0, 0),
            "Wyckoff 1963, Crystal Structures 1, 85",
        ),
        Structure(
            "sylvite", "F m -3 m", _cubic(6.2931), _sites(("K", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)), 2.1, (1, 0, 0),
            "Wyckoff 1963, Crystal Structures 1, 85",
        ),
        Structure(
            "lithium fluoride", "F m -3 m", _cubic(4.0270), _sites(("Li", 0, 0, 0), ("F", 0.5, 0.5, 0.5)), 0.9,
            (1, 0, 0), "Thewlis 1955, Acta Cryst. 8, 36",
        ),
        Structure(
            "strontium fluoride", "F m -3 m", _cubic(5.7996), _sites(("Sr", 0, 0, 0), ("F", 0.25, 0.25, 0.25)),
            0.7, (1, 1, 1), "Forsyth, Wilson & Sabine 1989, Acta Cryst. A45, 244",
        ),
        Structure(
            "sphalerite", "F -4 3 m", _cubic(5.4093), _sites(("Zn", 0, 0, 0), ("S", 0.25, 0.25, 0.25)), 0.8,
            (1, 1, 0), "Skinner 1961, Am. Mineral. 46, 1399",
        ),
        Structure(
            "wurtzite", "P 63 m c", _hexagonal(3.8227, 6.2607),
            _sites(("Zn", third, two, 0), ("S", third, two, 0.3748)), 0.8, (0, 0, 1),
            "Kisi & Elcombe 1989, Acta Cryst. C45, 1867",
        ),
        Structure(
            "gallium nitride", "P 63 m c", _hexagonal(3.1890, 5.1855),
            _sites(("Ga", third, two, 0), ("N", third, two, 0.3770)), 0.3, (0, 0, 1),
            "Schulz & Thiemann 1977, Solid State Commun. 23, 815",
        ),
        Structure(
            "lanthanum hexaboride", "P m -3 m", _cubic(4.15683), _sites(("La", 0, 0, 0), ("B", 0.1993, 0.5, 0.5)),
            0.4, (1, 0, 0), "NIST SRM 660c; Eliseev et al. 1986, Sov. Phys. Cryst. 31, 478",
        ),
        Structure(
            "calcite", "R -3 c:H", _hexagonal(4.9896, 17.0610),
            _sites(("Ca", 0, 0, 0), ("C", 0, 0, 0.25), ("O", 0.2568, 0, 0.25)), 0.7, (1, 0, 4),
            "Maslen, Streltsov & Streltsova 1993, Acta Cryst. B49, 636",
        ),
        Structure(
            "magnesite", "R -3 c:H", _hexagonal(4.6328, 15.0129),
            _sites(("Mg", 0, 0, 0), ("C", 0, 0, 0.25), ("O", 0.2778, 0, 0.25)), 0.6, (1, 0, 4),
            "Ross 1997, Am. Mineral. 82, 682",
        ),
        Structure(
            "aragonite", "P m c n", (4.9614, 7.9671, 5.7404, 90.0, 90.0, 90.0),
            _sites(
                ("Ca", 0.25, 0.4150, 0.7597), ("C", 0.25, 0.7622, 0.9138), ("O", 0.25, 0.9225, 0.9038),
                ("O", 0.4736, 0.6810, 0.9128),
            ), 0.7, (0, 1, 0), "De Villiers 1971, Am. Mineral. 56, 758",
        ),
        Structure("silicon", "F d -3 m:1", _cubic(5.43112), _sites(("Si", 0, 0, 0)), 0.46, (1, 1, 1), "NIST SRM 640"),
        Structure("nickel", "F m -3 m", _cubic(3.5238), _sites(("Ni", 0, 0, 0)), 0.40, (1, 1, 1), "ICDD 4-850"),
        Structure("copper", "F m -3 m", _cubic(3.6149), _sites(("Cu", 0, 0, 0)), 0.54, (1, 1, 1), "Straumanis 1969"),
        Structure("aluminium", "F m -3 m", _cubic(4.0495), _sites(("Al", 0, 0, 0)), 0.85, (1, 1, 1), "ICDD 4-787"),
        Structure("iron", "I m -3 m", _cubic(2.8665), _sites(("Fe", 0, 0, 0)), 0.35, (1, 1, 0), "ICDD 6-696"),
        Structure("tungsten", "I m -3 m", _cubic(3.1652), _sites(("W", 0, 0, 0)), 0.16, (1, 1, 0), "ICDD 4-806"),
        Structure(
            "graphite", "P 63/m m c", _hexagonal(2.4640, 6.7110),
            _sites(("C", 0, 0, 0.25), ("C", third, two, 0.25)), 1.0, (0, 0, 1),
            "Trucano & Chen 1975, Nature 258, 136",
        ),
    ]  # fmt: skip


def structures() -> dict[str, Structure]:
    """Return every structure by name.

    Returns
    -------
    dict
        The four known phases and all materials of :data:`UNKNOWN` and :data:`HELD_OUT`.
    """
    return {s.name: s for s in (*_known(), *_oxides(), *_others())}


def structure(name: str) -> Structure:
    """Return one structure.

    Raises
    ------
    KeyError
        When there is none of that name; the message lists the names.
    """
    known = structures()
    if name not in known:
        raise KeyError(f"no structure named {name!r}; there are {', '.join(sorted(known))}")
    return known[name]
