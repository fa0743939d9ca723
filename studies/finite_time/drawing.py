"""Colours and lines of the methods, and curves on fewer epochs."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ..draw.figures import BLUE, GREEN, ORANGE, PURPLE, VERMILION
from .courses import Course

STYLES = {
    "law (3)": (VERMILION, "-"),
    "law (13)": (VERMILION, "-"),
    "L1": (BLUE, "--"),
    "L2": (GREEN, "-."),
    "E": (ORANGE, ":"),
}
"""Method -> colour and line."""
SECOND = (PURPLE, (0, (6, 1, 1, 1, 1, 1)))
"""Of a second law (13) in one picture."""


def style(name: str, names: list[str]) -> tuple[str, object]:
    """Colour and line of a method among others; "law (13), beta = 0.1" is a law (13)."""
    method, _, which = name.partition(", ")
    alike = [other for other in names if other.startswith(method)]
    return SECOND if which and alike.index(name) == 1 else STYLES[method]


def legend(name: str) -> str:
    """How a method is named in a legend."""
    return name.replace("beta", "$\\beta$") if name.startswith("law") else f"descent, {name}"


def log_spaced(epochs: int, every: int = 1, points: int = 200) -> np.ndarray:
    """0 and at most so many multiples of `every` up to the last epoch, even in the logarithm."""
    counts = np.rint(np.geomspace(1, max(1, epochs // every), points)).astype(int)
    return every * np.unique(np.append(0, counts))


def sampled(run: Course, name: str, epochs: np.ndarray) -> np.ndarray:
    """What was seen last at these epochs: a run that ended early keeps its end."""
    return run.seen[name][np.searchsorted(run.epochs, epochs, side="right") - 1]


def names_of(case: xr.Dataset) -> list[str]:
    """The methods of a case."""
    return [str(name) for name in case["method"].values]


def draw_curves(ax: Axes, cases: Sequence[xr.Dataset], variable: str) -> None:
    """The mean of case[variable] (method, epoch) over cases against epochs, a curve for each
    method; the range of the cases behind it.
    """
    names, epochs = names_of(cases[0]), cases[0]["epoch"].values[1:]
    values = np.stack([case[variable].values[:, 1:] for case in cases])
    for k, name in enumerate(names):
        color, line = style(name, names)
        ax.plot(epochs, values[:, k].mean(axis=0), color=color, ls=line, label=legend(name))
        if len(cases) > 1:
            low, high = values[:, k].min(axis=0), values[:, k].max(axis=0)
            ax.fill_between(epochs, low, high, color=color, alpha=0.08, linewidth=0)
    ax.set_xscale("log")
    ax.set_xlabel("epochs (pseudo-time, step 1)")
    ax.grid(True)


def count(value: object) -> str:
    """A number of epochs in words."""
    number = float(np.asarray(value))
    return f"{number:.0f} epochs" if np.isfinite(number) else "never"
