"""A problem of learning that is quick to solve."""

import numpy as np

from continuum import Grid, LearningProblem, Tikhonov, TimeMesh, WidthDepth, tanh


def halving(grid: Grid, initial: np.ndarray, layers: int) -> LearningProblem:
    """Bring each sample to half of itself, by a bias and a kernel with a penalty, in time 1."""
    mesh = TimeMesh(1.0, layers)
    return LearningProblem(
        WidthDepth(grid, tanh), initial, 0.5 * initial, mesh, penalty=Tikhonov(0.1)
    )
