"""The paper, and the problem of its scalar examples."""

from collections.abc import Sequence

import numpy as np

from continuum import LearningProblem, NeuralODE2, SquaredError, Tikhonov, TimeMesh, identity

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
