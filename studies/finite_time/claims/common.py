"""What the claims on this paper share."""

import numpy as np

from continuum import Control, LearningProblem, identity
from solvers.finite_time import neuron

PAPER = "finite_time"


def one_weight(error: float, input: float = 1.0) -> tuple[LearningProblem, Control]:
    """A linear neuron with one weight that moves it, target 0, and where its output is `error`."""
    problem = neuron(np.array([[input]]), [0.0], link=identity, bias=0.0)
    return problem, start(problem, [error / input])


def start(problem: LearningProblem, weights: list[float]) -> Control:
    """The control of a neuron with these weights, the bias fixed or 0."""
    return problem.space.sample(weight1=np.array([[0.0, *weights]]))


def weights(control: Control) -> np.ndarray:
    """(n,): the weights of a neuron."""
    return control["weight1"][0, 1:]
