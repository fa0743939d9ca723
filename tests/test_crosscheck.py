"""A trained readout's gradient against another library's automatic one; run by `make
crosscheck`.
"""

import numpy as np
import pytest

from continuum import (
    Affine,
    CrossEntropy,
    Interval,
    LearningProblem,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from solvers import Euler, discretize


@pytest.mark.crosscheck
def test_a_classifier_against_jax(rng):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    network, layers, samples = WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh), 4, 7
    initial, labels = rng.standard_normal((5, samples)), rng.integers(0, 3, samples)
    problem = LearningProblem(
        network, initial, labels, TimeMesh(1.0, layers), readout=Affine(3), terminal=CrossEntropy()
    )
    control, direction = problem.space.random(rng), problem.space.random(rng)
    w = jnp.asarray(network.weights)[:, None]

    def cost(c):
        f = jnp.asarray(initial)
        for k in range(layers):
            f = f + jnp.tanh(c["bias"][k][:, None] - c["kernel"][k] @ (w * f)) / layers
        scores = c["readout.W"] @ (w * f) + c["readout.mu"][:, None]
        return jnp.mean(jax.nn.logsumexp(scores, axis=0) - scores[labels, jnp.arange(samples)])

    here, along = ({n: jnp.asarray(x) for n, x in c.items()} for c in (control, direction))
    objective = discretize(problem, Euler())
    assert objective.value(control) == pytest.approx(float(cost(here)), rel=1e-13)
    gradient, product = jax.jvp(jax.grad(cost), (here,), (along,))
    for ours, theirs in (
        (objective.gradient(control), gradient),
        (objective.hvp(control, direction), product),
    ):
        for block in problem.space.blocks:
            share = block.weights / (layers if block.time == "layers" else 1)
            np.testing.assert_allclose(
                share * ours[block.name], np.asarray(theirs[block.name]), rtol=0, atol=1e-13
            )
