"""The paper, and the problem of its examples."""

from collections.abc import Sequence

import numpy as np

from continuum import (
    Activation,
    Box,
    Grid,
    LearningProblem,
    TimeMesh,
    WidthDepth,
    identity,
    midpoint,
)
from continuum.sets import AdmissibleSet

from ..shared import UNIT

PAPER = "Liu and Markowich, Selection dynamics for deep neural networks"


def boxed(
    initial: Sequence[float],
    target: Sequence[float],
    *,
    grid: Grid | None = None,
    activation: Activation = identity,
    horizon: float = 1.0,
    layers: int = 60,
    admissible: AdmissibleSet | None = None,
) -> LearningProblem:
    """min 1/2 |f(T) - target|^2 over -1 <= a, b <= 1, one sample: the examples of section 4.2
    (LM-52 to LM-56).

    initial, target : a value for each half of (0, 1), or for each node of `grid`
    admissible : another set than the box
    """
    network = WidthDepth(midpoint(UNIT, 2) if grid is None else grid, activation)
    return LearningProblem(
        network,
        np.array(initial, dtype=float)[:, None],
        np.array(target, dtype=float)[:, None],
        TimeMesh(horizon, layers),
        admissible=admissible or Box(bias=(-1, 1), kernel=(-1, 1)),
    )
