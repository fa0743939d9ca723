"""One style for all figures: colours every eye can tell apart, sizes that survive print, orders as
triangles.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, get_args

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Polygon
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter
from matplotlib.transforms import Bbox

from continuum.checks import check_type

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
OKABE_ITO = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)
"""The palette of Okabe and Ito (2008), strongest contrast on white first."""

Corner: TypeAlias = Literal["upper right", "upper left", "lower right", "lower left"]

RATE = 10
"""Frames of an animation in a second."""

STYLE: dict[str, object] = {
    "axes.prop_cycle": cycler(color=OKABE_ITO),
    "figure.facecolor": "white",
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
}


def styled() -> AbstractContextManager[None]:
    """The style, inside a with statement; nothing of it outlasts the block."""
    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.2
) -> tuple[Figure, np.ndarray]:
    """An empty figure in the style, `width` x `height` inches, and its axes as an array (rows,
    columns).

    It belongs to no window and to no global list: it is gone when its last name is.
    """
    with styled():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def save_png(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG, 150 dots per inch, in the style; one without a layout is cut where
    its labels end, not where its page does.
    """
    cut = "tight" if figure.get_layout_engine() is None else None
    with styled():
        figure.savefig(path, format="png", bbox_inches=cut)


def save_gif(
    figure: Figure,
    draw: Callable[[int], None],
    frames: int,
    path: Path,
    *,
    dpi: int = 80,
) -> None:
    """Writes frames 0, ..., frames - 1 of a figure as a GIF that repeats, ten frames in a second:
    `draw(k)` changes the figure to frame k.  The last one stays for a second more.

    The axes stay where the layout of frame 0 puts them.
    dpi : dots per inch, fewer than in print, for the size of the file
    raises ValueError unless frames >= 1
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    writer = PillowWriter(fps=RATE)
    with styled(), TemporaryDirectory() as folder:  # Pillow reads the format off the ending
        file = Path(folder) / "animation.gif"
        with writer.saving(figure, file, dpi):
            for k in range(frames):
                draw(k)
                if k == 0:
                    figure.draw_without_rendering()
                    figure.set_layout_engine("none")
                writer.grab_frame()
            for _ in range(RATE):  # equal frames become one that stays
                writer.grab_frame()
        path.write_bytes(file.read_bytes())


def axes_for(ax: Axes | None, *, width: float = 6.4, height: float = 4.2) -> tuple[Figure, Axes]:
    """`ax` and its figure, or new ones in the style if it is None.

    raises TypeError for what is no axes, ValueError for axes without a figure
    """
    if ax is None:
        figure, axes = new_figure(width=width, height=height)
        return figure, axes[0, 0]
    found = check_type("ax", ax, Axes).get_figure(root=True)
    if not isinstance(found, Figure):
        raise ValueError("ax must belong to a figure")
    return found, ax


def draw_legend(ax: Axes, wanted: bool, given: bool, corner: bool = False) -> None:
    """The legend of a plot: below axes of our own, inside those that were `given`; none if none is
    wanted or nothing has a name.

    corner : keep it out of the middle, in the corner where it covers the fewest lines and marks
    """
    entries = len(ax.get_legend_handles_labels()[1])
    if not wanted or not entries:
        return
    if given:
        place = "upper right" if corner else "best"
        legend = ax.legend(loc=place, fontsize="small", frameon=True, framealpha=0.85)
        if corner:
            legend.set_loc(_free_corner(ax, legend))
        return
    columns = 4 if entries <= 4 else 3
    # by letters, not by the height of the axes: below the label, however small they are
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 4.6}
    ax.legend(**below, ncols=columns, columnspacing=1.4)


def _free_corner(ax: Axes, legend: Legend) -> Corner:
    """The corner in which a legend of this size meets the fewest lines, level lines and texts."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # sizes are known from here on
    box, frame = legend.get_window_extent(), ax.get_window_extent()
    curves = [line.get_path().transformed(line.get_transform()) for line in ax.lines]
    for levels in (x for x in ax.collections if isinstance(x, ContourSet)):
        curves += [path.transformed(levels.get_transform()) for path in levels.get_paths()]

    def met(name: str) -> int:
        low = frame.y1 - box.height if name.startswith("upper") else frame.y0
        left = frame.x1 - box.width if name.endswith("right") else frame.x0
        covered = Bbox.from_bounds(left, low, box.width, box.height)
        lines = sum(bool(path.intersects_bbox(covered, filled=False)) for path in curves)
        return lines + sum(covered.overlaps(text.get_window_extent()) for text in ax.texts)

    return min(get_args(Corner), key=met)


def order_triangle(
    axes: Axes,
    x: tuple[float, float],
    y: float,
    order: float,
    *,
    against: Literal["size", "step"] = "size",
    color: str = BLACK,
) -> Polygon:
    """The right triangle of a convergence plot: its long side has slope -order (against sizes) or
    order (steps).

    x : where it starts and ends, x[0] < x[1]; y : the long side's height at x[0]
    order : the number written beside it
    returns the triangle, whose first and second corners are the ends of the long side
    raises ValueError unless 0 < x[0] < x[1] and y > 0
    """
    left, right = x
    if not (0 < left < right and y > 0):
        raise ValueError(f"a triangle needs 0 < x[0] < x[1] and y > 0, got x={x!r}, y={y!r}")
    slope = -order if against == "size" else order
    end = y * (right / left) ** slope
    corner, level = (
        (left if slope < 0 else right),
        min(y, end),
    )  # the right angle is below the long side
    triangle = Polygon(
        [(left, y), (right, end), (corner, level)],
        closed=True,
        facecolor="none",
        edgecolor=color,
        linewidth=1.0,
    )
    axes.add_patch(triangle)
    axes.annotate(
        f"{order:g}",
        (corner, np.sqrt(y * end)),
        xytext=(-5 if corner == left else 5, 0),
        textcoords="offset points",
        ha="right" if corner == left else "left",
        va="center",
        color=color,
    )
    axes.annotate(
        "1",
        (np.sqrt(left * right), level),
        xytext=(0, -4),
        textcoords="offset points",
        ha="center",
        va="top",
        color=color,
    )
    return triangle


def convergence_plot(
    axes: Axes,
    sizes: Sequence[float],
    errors: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
    label: str = "",
    order: float | None = None,
    floor: float | None = None,
    legend: bool = True,
) -> None:
    """Errors against sizes (depth, width), both logarithmic, with the triangle of the declared
    order.

    order : draws the triangle under the last points
    floor : the error of the reference itself, below which errors mean nothing: a dashed line, or,
        where it is so far below that the line would take half of the axis, a line of the legend
    legend : False leaves it out
    raises ValueError unless sizes and errors are positive, finite and equally many, at least two
    """
    x, y = np.asarray(sizes, dtype=float), np.asarray(errors, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(
            f"sizes and errors must be equally many, at least two, got {x.shape} and {y.shape}"
        )
    if not (np.all(np.isfinite(x) & np.isfinite(y)) and np.all(x > 0) and np.all(y > 0)):
        raise ValueError("sizes and errors must be finite and positive for logarithmic axes")
    ranked = np.argsort(x)
    x, y = x[ranked], y[ranked]
    axes.loglog(x, y, "o-", label=label or None)
    floor = floor or 0.0
    if floor > 0 and y.min() / floor <= max(10.0, y.max() / y.min()):
        axes.axhline(
            floor, color=BLACK, linestyle="--", linewidth=1.0, label="error of the reference"
        )
    elif floor > 0:  # a line as far below as this would take most of the axis
        axes.plot([], [], " ", label=f"error of the reference: {floor:.0e}")
    if order is not None:
        middle = max(0, len(x) - 3)
        order_triangle(axes, (float(x[middle]), float(x[-1])), float(y[middle]) / 2.5, order)
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** 0.06, high)  # room for the number below the triangle
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(FixedLocator([float(size) for size in x]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major")
    if legend and (label or floor > 0):
        axes.legend(loc="upper right", frameon=False)
