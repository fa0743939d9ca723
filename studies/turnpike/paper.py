"""The paper, and the problems of its examples."""

from collections.abc import Sequence

import numpy as np

from continuum import (
    LearningProblem,
    NeuralODE2,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    identity,
    tanh,
)

PAPER = "Geshkovski, Large-time asymptotics in deep learning"


def scalar(
    target: float,
    mesh: TimeMesh,
    *,
    strength: float = 1.0,
    affine: bool = True,
    running: bool = True,
    initial: Sequence[float] = (0.0,),
) -> LearningProblem:
    """min of |x - target|^2, along the way or at T, plus strength int |u|^2, one sample, from 0.

    affine : x' = w x + b, else x' = b
    """
    network = NeuralODE2(1, identity)
    return LearningProblem(
        network,
        np.array([initial], dtype=float),
        np.full((1, len(initial)), target),
        network.controls(mesh, fixed={} if affine else {"weight": 0.0}),
        terminal=None if running else SquaredError(1.0),
        running=SquaredError(1.0) if running else None,
        penalty=Tikhonov(strength),
    )


def xor(penalty: float, mesh: TimeMesh, *, along: bool = False, units: int = 2) -> LearningProblem:
    """The corners (+-1, +-1) of a square, labelled by the product of their coordinates, which the
    first coordinate of w tanh(x) + b is to become: |x_1(T) - y|^2, or its integral over (0, T).

    A change of sign of the first coordinate, together with that of the labels, leaves J as it is.
    along : whether the cost is the integral
    units : d >= 2; the coordinates of the corners beyond the second are 0
    """
    corners = np.zeros((units, 4))
    corners[:2] = [[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]
    return LearningProblem(
        NeuralODE2(units, tanh),
        corners,
        corners[:1] * corners[1:2],
        mesh,
        readout=Projection(np.eye(1, units)),
        terminal=None if along else SquaredError(1.0),
        running=SquaredError(1.0) if along else None,
        penalty=Tikhonov(penalty),
    )
