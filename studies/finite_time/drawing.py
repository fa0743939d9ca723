"""Colours and lines of the methods, and curves on fewer epochs."""

import numpy as np

from ..draw.figures import BLUE, GREEN, ORANGE, VERMILION
from .courses import Course

STYLES = {
    "law (3)": (VERMILION, "-"),
    "law (13)": (VERMILION, "-"),
    "L1": (BLUE, "--"),
    "L2": (GREEN, "-."),
    "E": (ORANGE, ":"),
}
"""Method -> colour and line."""


def log_spaced(epochs: int, points: int = 200) -> np.ndarray:
    """0 and at most so many epochs up to the last, even in the logarithm."""
    return np.unique(np.append(0, np.rint(np.geomspace(1, epochs, points)).astype(int)))


def sampled(run: Course, name: str, epochs: np.ndarray) -> np.ndarray:
    """What was seen last at these epochs: a run that ended early keeps its end."""
    return run.seen[name][np.searchsorted(run.epochs, epochs, side="right") - 1]
