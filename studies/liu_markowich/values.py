"""What the studies on value functions share: the two examples of the box and their optima."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from continuum import LearningProblem
from solvers import Extremal, shoot

from .bang_bang import along, between
from .paper import boxed, pushed

Example: TypeAlias = Literal["one switch", "mirror images"]
EXAMPLES: Mapping[Example, tuple[tuple[float, float], tuple[float, float], float]] = (
    MappingProxyType(
        {
            "one switch": ((0.5, 0.5), (4.0, 0.0), 1.0),
            "mirror images": ((0.0, 0.0), (6.0, 0.0), 2.0),
        }
    )
)
"""Start, target and horizon of LM-54 and LM-55."""


def posed(example: Example, layers: int = 100) -> LearningProblem:
    """LM-54 or LM-55."""
    start, target, horizon = EXAMPLES[example]
    return boxed(start, target, horizon=horizon, layers=layers)


def optimum(example: Example) -> Extremal:
    """The extremal of least cost, by shooting; of the two mirror images the one with f_2 >= 0."""
    problem = posed(example, 40)
    if example == "one switch":
        return shoot(problem, atol=1e-11)
    return shoot(problem, initial=pushed(problem, [1.0, 1.0]), atol=1e-11)


def path(extremal: Extremal) -> tuple[np.ndarray, np.ndarray]:
    """Times (P,) and states (P, 2) of an extremal, twelve in each step of shooting."""
    times, control = along(extremal)
    kernels = 0.5 * control[:, 2:].reshape(-1, 2, 2)
    return between(extremal.state.states[:, :, 0], control[:, :2], kernels, times)
