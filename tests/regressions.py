"""Regressions of one neuron and of small networks, for the laws of finite time."""

import numpy as np

from continuum import LearnedField, LearningProblem, TimeMesh, identity, tanh
from solvers.finite_time import neuron

INPUTS = np.array([[1.0, 0.5, -0.3], [-0.4, 1.0, 0.6], [0.2, -0.7, 1.1]]).T
"""Three inputs (n, M) = (3, 3)."""


def one_weight(error=0.7, link=identity):
    problem = neuron(np.ones((1, 1)), [0.0 if link is identity else 0.3], link=link, bias=0.0)
    return problem, problem.space.sample(weight1=np.array([[0.0, error]]))


def network(samples, rng, outputs=1):
    field = LearnedField(outputs, 2, (4,), tanh, timed=False)
    problem = LearningProblem(
        field.at(rng.standard_normal((2, samples))),
        np.zeros((outputs, samples)),
        rng.standard_normal((outputs, samples)),
        TimeMesh(1.0, 1),
    )
    return problem, problem.space.random(rng, 0.7)
