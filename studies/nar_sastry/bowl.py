"""Level curves of a convex residual network of one layer, and what would close them."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from continuum.checks import check_count
from continuum.convex_networks import ConvexDifference, ConvexNetwork

from ..bench.parameters import Count
from ..bench.registry import Picture, study
from ..draw.figures import BLACK, BLUE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

SIDE, TURNED = 1.0, np.array([[1.0, 0.4], [0.25, 1.0]])
"""Of the square [0, M]^2; V^T of the second panel."""
PANELS = ("V = I: (8a) and (8b)", "another V", "V = I, less $3/2\\,(x_1 + x_2)$")


def layer(v: np.ndarray, b: np.ndarray) -> ConvexNetwork:
    """f(x) = [1 1] (x + [V^T x - b]_+)."""
    return ConvexNetwork(v[None], -b[None], np.eye(2)[None], np.ones(2), domain=(0.0, SIDE))


def functions(b: np.ndarray) -> tuple[ConvexNetwork | ConvexDifference, ...]:
    """The three panels: (8a-b), the same with another V, and (8a-b) less a linear part."""
    first, off = layer(np.eye(2), b), (np.zeros((1, 2, 2)), np.zeros((1, 2)), np.zeros((1, 2, 2)))
    flat = ConvexNetwork(*off, np.full(2, 1.5), domain=(0.0, SIDE))
    return first, layer(TURNED, b), ConvexDifference(first, flat)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    case = cases[0]
    x, b = case["x"].values, case["offset"].values
    figure, axes = new_figure(1, 3, width=11.0, height=4.2)
    for k, (ax, name) in enumerate(zip(axes[0], PANELS, strict=True)):
        values = case["value"].values[k]
        curves = ax.contour(
            x, x, values.T, levels=12, colors=[BLUE], linewidths=1.2, linestyles="solid"
        )
        ax.clabel(curves, curves.levels[::3], fontsize=8)
        for normal, distance in zip(case["normal"].values[k], b, strict=True):
            if abs(normal[1]) > abs(normal[0]):
                ax.plot(x, (distance - normal[0] * x) / normal[1], "--", color=VERMILION)
            else:
                ax.plot((distance - normal[1] * x) / normal[0], x, "--", color=VERMILION)
        row, column = case["lowest"].values[k]
        ax.plot(row, column, "o", color=BLACK, clip_on=False, zorder=5, label="lowest point")
        ax.set(xlim=(0.0, SIDE), ylim=(0.0, SIDE), xlabel="$x_1$", ylabel="$x_2$", title=name)
        ax.set_aspect("equal")
    axes[0, 0].plot([], [], color=BLUE, label="level curves of $f$")
    axes[0, 0].plot([], [], "--", color=VERMILION, label="kinks, $V_j^T x = b_j$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    gradients = "; ".join(
        ", ".join(f"({g[0]:.3g}, {g[1]:.3g})" for g in case["gradient"].values[k])
        for k in range(len(PANELS))
    )
    places = ", ".join(f"({p[0]:.3g}, {p[1]:.3g})" for p in case["lowest"].values)
    caption = (
        f"Level curves of f = [1 1] (x + [V^T x - b]_+), b = ({b[0]:.3g}, {b[1]:.3g}); dashed: "
        "V_j^T x = b_j, where f and its level curves have their kinks. The columns of V are normal "
        "to these lines, b_j over the length of V_j is the distance from 0. Gradients, from panel "
        f"to panel, in the four cells (no unit, first, second, both): {gradients}. Dots: the "
        f"lowest of the points drawn, {places}. A convex residual network increases in every x_j, "
        "so what the paper calls bowl-shaped is the far quarter of a bowl, with the lowest point "
        "in the corner; the bowl closes in a difference, where a linear part is taken away."
    )
    return [Picture("bowl", caption, figure)]


@study("nar_sastry/bowl", paper=PAPER, figure="Figure 2", plot=_plot)
def bowl(first: float = 0.35, second: float = 0.55, points: Count = 201) -> xr.Dataset:
    """What do the level curves of a convex residual network look like?

    One layer on [0, 1]^2: (8a) and (8b) of the paper, V = W = I; the same with V^T = [[1, 0.4],
    [0.25, 1]]; and (8a-b) less 3/2 (x_1 + x_2), the difference of two convex networks.  The paper
    does not say its b.

    value: f on a grid; normal, offset: of the lines V_j^T x = b_j; gradient: in the cells where no
    unit acts, the first, the second, both; lowest: where f is least on the grid.
    """
    b, points = np.array([first, second]), check_count("points", points, 3)
    if not np.all((b > 0.0) & (b < SIDE)):
        raise ValueError(f"first and second must be in (0, {SIDE:g}), got {first}, {second}")
    x = np.linspace(0.0, SIDE, points)
    grid = np.stack([one.ravel() for one in np.meshgrid(x, x, indexing="ij")])
    normals = np.stack([np.eye(2), TURNED, np.eye(2)])
    values, gradients, lowest = [], [], []
    for f, v in zip(functions(b), normals, strict=True):
        # one point in each of the four cells, next to where the two lines meet
        signs = np.array([[-1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0]])
        cells = np.linalg.solve(v, b[:, None] + 1e-3 * signs)
        found = f.value(grid)
        values.append(found.reshape(points, points))
        gradients.append(f.gradient(cells).T)
        lowest.append(grid[:, np.argmin(found)])
    return xr.Dataset(
        {
            "value": described("value", np.stack(values), "1", "f", ("panel", "row", "column")),
            "normal": described("normal", normals, "1", "V_j", ("panel", "unit", "coordinate")),
            "offset": described("offset", b, "1", "b_j", ("unit",)),
            "gradient": described(
                "gradient", np.stack(gradients), "1", "grad f", ("panel", "cell", "coordinate")
            ),
            "lowest": described(
                "lowest", np.stack(lowest), "1", "where f is least", ("panel", "coordinate")
            ),
            "x": described("x", x, "1", "x_1 and x_2", ("row",)),
        },
        coords={"panel": list(PANELS)},
    )
