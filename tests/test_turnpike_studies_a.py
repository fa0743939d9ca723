"""Studies of the turnpike, small; and what their claims stand on."""

import numpy as np
import pytest

from continuum import (
    LearningProblem,
    NeuralODE2,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    user_activation,
)
from solvers import NewtonCG, minimize

DOUBLED = user_activation(
    "doubled",
    lambda s: 2.0 * s,
    lambda s: 2.0 + 0.0 * s,
    lambda s: 0.0 * s,
    lambda s: s * s,
    lipschitz=2.0,
)


def test_an_endpoint_without_costs_in_the_generic_loop():
    """x' = 2 w x in Euler's layers: prod (1 + 2 h w_k) = 3, so w_k = (3^(1/K) - 1) / (2 h).  No
    state has a cost here, so the second-order sweep asks for none.
    """
    network, layers = NeuralODE2(1, DOUBLED), 4
    problem = LearningProblem(
        network,
        np.array([[-0.5, 0.5]]),
        np.array([[-1.5, 1.5]]),
        network.controls(TimeMesh(1.0, layers), fixed={"bias": 0.0}),
        terminal=None,
        penalty=Tikhonov(1.0),
        endpoint=TerminalEquality(),
    )
    found = minimize(problem, NewtonCG(gtol=1e-8))
    wanted = 0.5 * layers * (3.0 ** (1.0 / layers) - 1.0)
    np.testing.assert_allclose(found.control["weight"][:, 0, 0], wanted, rtol=0, atol=1e-7)
    assert found.objective == pytest.approx(wanted**2, abs=1e-7)
