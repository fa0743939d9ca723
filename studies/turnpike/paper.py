"""The paper, and the problems of its examples."""

import numpy as np

from continuum import (
    LearningProblem,
    NeuralODE2,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    tanh,
)

PAPER = "Geshkovski and Zuazua, Large-time asymptotics in deep learning"


def xor(penalty: float, mesh: TimeMesh, *, along: bool = False) -> LearningProblem:
    """The corners (+-1, +-1) of a square, labelled by the product of their coordinates, which the
    first coordinate of w tanh(x) + b is to become: |x_1(T) - y|^2, or its integral over (0, T).

    A change of sign of the first coordinate, together with that of the labels, leaves J as it is.
    along : whether the cost is the integral
    """
    corners = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    return LearningProblem(
        NeuralODE2(2, tanh),
        corners,
        corners[:1] * corners[1:],
        mesh,
        readout=Projection(np.array([[1.0, 0.0]])),
        terminal=None if along else SquaredError(1.0),
        running=SquaredError(1.0) if along else None,
        penalty=Tikhonov(penalty),
    )
