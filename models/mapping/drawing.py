"""Pictures of a map: regions with their confidence, in one, two or three (ternary) coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.mapping.so_far import PhaseMapSoFar, Regions

__all__ = ["draw_map", "draw_regions", "flat_places", "matched_colours"]

Array = npt.NDArray[np.float64]


def draw_map(
    so_far: PhaseMapSoFar, path: Path, names: Sequence[str] = (), *, title: str = "",
    beside: tuple[str, npt.ArrayLike] | None = None, regions: Regions | None = None,
) -> Path:  # fmt: skip
    """Draw a map as PNG: the regions, and the share of each component.

    Parameters
    ----------
    so_far : PhaseMapSoFar
        The map.
    path : Path
        File to write (.png, .svg, .pdf).
    names : sequence of str
        Name of each component; by default numbers.
    title : str
        Above the picture.
    beside : (str, array_like of shape (m,)), optional
        Title and labels of regions known from elsewhere, drawn beside; each in the colour of the region
        found that it shares most points with (no two in one).
    regions : Regions, optional
        Default: those of the map.

    Returns
    -------
    Path
        ``path``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    regions = regions or so_far.regions()
    used = [int(j) for j in np.flatnonzero(so_far.shares.sum(axis=0) > 0)]
    named = [names[j] if j < len(names) else f"component {j + 1}" for j in range(so_far.shares.shape[1])]
    figure = Figure(figsize=(max(3.2 * len(used), 10.0), 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.5, 1))
    both = upper.subplots(1, 2 if beside is not None else 1, squeeze=False)[0]
    draw_regions(both[0], so_far, regions.label, named, confidence=regions.confidence, title="regions found")
    if beside is not None:
        texts, known = np.unique(np.asarray(beside[1]), return_inverse=True)
        colour = matched_colours(regions.label, known)
        draw_regions(both[1], so_far, known, [str(t) for t in texts], title=beside[0], colour=colour)
    below = lower.subplots(1, max(len(used), 1), squeeze=False)[0]
    for axes, j in zip(below, used, strict=False):
        _points(axes, so_far, so_far.shares[:, j], cmap="viridis", vmin=0, vmax=1, s=14)
        axes.set_title(f"share of {named[j]}", fontsize=9)
    if title:
        figure.suptitle(title)
    figure.savefig(path, dpi=120)
    return path


def draw_regions(
    axes: Any, so_far: PhaseMapSoFar, label: npt.ArrayLike, names: Sequence[str], *,
    confidence: Array | None = None, title: str = "", colour: npt.NDArray[np.int64] | None = None,
) -> None:  # fmt: skip
    """Draw labels into matplotlib axes; the less confident, the paler; ``colour``: which of each label."""
    from matplotlib import colormaps

    label = np.asarray(label, int)
    flat, frame = flat_places(so_far)
    which = np.arange(len(names)) if colour is None else colour
    colours = colormaps["tab10" if max(len(names), which.max(initial=0) + 1) <= 10 else "tab20"]
    for own in np.unique(label):
        mine = label == own
        shade = colours(int(which[own]) % colours.N) if own >= 0 else (0.6, 0.6, 0.6, 1.0)
        rgba = np.tile(shade, (int(mine.sum()), 1))
        if confidence is not None:
            rgba[:, 3] = np.clip(confidence[mine], 0.2, 1.0)
        name = names[own] if own >= 0 else "not known"
        axes.scatter(*flat[mine].T, s=30, color=rgba, label=f"{name} ({int(mine.sum())})")
    _frame(axes, so_far, frame)
    axes.legend(fontsize=7, loc="upper right")
    axes.set_title(title, fontsize=10)


def matched_colours(found: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Choose the colour of each known region: that of the found one it shares most points with.

    Parameters
    ----------
    found, known : ndarray of int, shape (m,)
        Labels of the points, from 0; a found one of -1 is not known.

    Returns
    -------
    ndarray of int, shape (known regions,)
        Label found that it is drawn as, no two alike; beyond all labels where there is none.
    """
    from scipy.optimize import linear_sum_assignment

    count = int(known.max(initial=-1)) + 1
    shared = np.zeros((count, max(int(found.max(initial=-1)) + 1, 1)), np.int64)
    both = found >= 0
    np.add.at(shared, (known[both], found[both]), 1)
    out = np.arange(count) + shared.shape[1]
    rows, columns = linear_sum_assignment(-shared)
    out[rows] = columns
    return out


def _points(axes: Any, so_far: PhaseMapSoFar, values: Array, **how: Any) -> None:
    flat, frame = flat_places(so_far)
    axes.scatter(*flat.T, c=values, **how)
    _frame(axes, so_far, frame)


def flat_places(so_far: PhaseMapSoFar) -> tuple[Array, Array | None]:
    """Return the places in the plane, shape (m, 2), and the corners of the triangle of a ternary system."""
    places = so_far.places
    if places.shape[1] == 1:
        return np.column_stack([places[:, 0], np.zeros(len(places))]), None
    if not so_far.ternary:
        return places[:, :2], None
    shares = places / places.sum(axis=1, keepdims=True)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    return shares @ corners, corners


def _frame(axes: Any, so_far: PhaseMapSoFar, corners: Array | None) -> None:
    names = so_far.axes
    if corners is None:
        axes.set_xlabel(names[0])
        if len(names) > 1:
            axes.set_ylabel(names[1])
        else:
            axes.set_yticks([])
        return
    around = np.concatenate([corners, corners[:1]])
    axes.plot(*around.T, color="black", linewidth=0.8)
    for (x, y), name, below in zip(corners, names, (True, True, False), strict=True):
        axes.annotate(
            name, (x, y), (0, -10 if below else 4), textcoords="offset points", ha="center", fontsize=9
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_axis_off()
