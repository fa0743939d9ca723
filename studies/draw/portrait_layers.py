"""What can be laid over a phase portrait: nullclines, separatrices of saddles, level sets of a
function.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes

from continuum import Network
from continuum.checks import check_array, check_call
from solvers.planar.fields import Box, lattice
from solvers.planar.separatrices import manifolds

from .figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

_FINE = 241

_MARKERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sink": ("o", BLUE),
        "spiral sink": ("h", SKY),
        "source": ("s", VERMILION),
        "spiral source": ("D", ORANGE),
        "saddle": ("X", PURPLE),
        "centre": ("P", GREEN),
        "degenerate": ("*", BLACK),
    }
)


def draw_points(ax: Axes, points: Sequence[tuple[np.ndarray, str]]) -> None:
    """Markers at points (2,), by kind and named once; those of a kind "... at infinity" are
    hollow.
    """
    named: set[str] = set()
    for point, kind in points:
        marker, color = _MARKERS[kind.removesuffix(" at infinity")]
        hollow = kind.endswith(" at infinity")
        ax.plot(
            *point,
            marker,
            color="white" if hollow else color,
            markersize=11,
            zorder=6,
            clip_on=False,
            gid=kind,
            markeredgecolor=color if hollow else "white",
            markeredgewidth=2.0 if hollow else 1.0,
            linestyle="none",
            label=None if kind in named else kind,
        )
        named.add(kind)


def say_frozen(ax: Axes, time: float) -> None:
    """Says in a corner at which time the field stands still."""
    ax.text(
        0.02,
        0.98,
        f"field frozen at t = {time:.4g}",
        transform=ax.transAxes,
        ha="left",
        va="top",
        fontsize=9,
        zorder=7,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2.0},
    )


def draw_nullclines(ax: Axes, velocity: Callable[[np.ndarray], np.ndarray], box: Box) -> None:
    """The curves on which a component of the velocity (2, M) -> (2, M) is 0."""
    for i, (values, color) in enumerate(
        zip(velocity(lattice(box, _FINE)), (GREEN, ORANGE), strict=True)
    ):
        _contours(ax, box, values, [0.0], f"nullcline of unit {i}", color, 1.6, "dashed")


def draw_separatrices(
    ax: Axes,
    network: Network,
    values: Mapping[str, np.ndarray],
    time: float,
    saddles: Sequence[np.ndarray],
    box: Box,
) -> None:
    """The stable and the unstable manifold of each saddle, as far as the box shows them."""
    named: set[bool] = set()
    for saddle in saddles:
        for stable, path in manifolds(network, values, time, saddle, box):
            name = "stable separatrix" if stable else "unstable separatrix"
            ax.plot(
                *path,
                color=BLUE if stable else VERMILION,
                linewidth=2.4,
                zorder=3,
                gid=name,
                label=None if stable in named else name,
            )
            named.add(stable)


def draw_level_sets(
    ax: Axes, function: Callable[[np.ndarray], np.ndarray], starts: np.ndarray, box: Box
) -> None:
    """The level sets of a function of the state, (2, M) -> (M,), that go through `starts` (2, M).

    raises ValueError if it does not return one finite number per state
    """
    nodes = lattice(box, _FINE)
    values, wanted = (
        check_array("level_sets(state)", check_call("level_sets", function, x), (x.shape[1],))
        for x in (nodes, starts)
    )
    wanted = np.sort(wanted)
    apart = np.diff(wanted, prepend=-np.inf) > 1e-6 * np.ptp(values)
    _contours(ax, box, values, wanted[apart].tolist(), "level sets", SKY, 5.0, "solid")


def _contours(
    ax: Axes,
    box: Box,
    values: np.ndarray,
    levels: Sequence[float],
    name: str,
    color: str,
    width: float,
    style: str,
) -> None:
    """Contours of values on the fine lattice, with a name for the legend; nothing where no level is
    attained.
    """
    attained = [level for level in levels if values.min() < level < values.max()]
    if not attained:
        return
    x, y = np.linspace(box[0], box[1], _FINE), np.linspace(box[2], box[3], _FINE)
    drawn = ax.contour(
        x,
        y,
        values.reshape(_FINE, _FINE),
        levels=attained,
        colors=color,
        linewidths=width,
        linestyles=style,
        alpha=0.55 if style == "solid" else 1.0,
    )
    drawn.set_gid(name)
    ax.plot([], [], color=color, linewidth=width, linestyle=style, label=name)
