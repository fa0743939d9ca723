"""The paper, and the problem of its examples."""

from collections.abc import Sequence

import numpy as np

from continuum import (
    Activation,
    Box,
    Control,
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


def pushed(problem: LearningProblem, signs: Sequence[float]) -> Control:
    """A start that sends the nodes of the second half to the side of their sign for two thirds of
    the time and back then, the others up all the time, each helped by the states of all; a sign of
    0 leaves a node at rest.
    """
    sides, layers = np.array(signs, dtype=float), problem.mesh.layers
    early = (np.arange(layers) < 2 * layers // 3)[:, None]
    first_half = np.arange(len(sides)) < len(sides) // 2
    towards = np.where(early | first_half, sides, -sides)
    kernel = -towards[:, :, None] * sides
    return problem.space.sample(bias=0.9 * towards, kernel=0.9 * kernel)
