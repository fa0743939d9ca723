"""Gradients and Hessian products of products of matrices, convex networks and filters against
PyTorch's autograd; run by `make crosscheck`.

The models are written out here in PyTorch, with samples as rows; from the package come the numbers
of the controls alone.
"""

import numpy as np
import pytest

from continuum import FilterBank
from solvers import discretize, trained_inputs
from solvers.convex_fits import convex_problem, convex_start
from solvers.linear_networks import ProductObjective, deep_linear

pytestmark = pytest.mark.crosscheck


@pytest.fixture(scope="module")
def torch():
    found = pytest.importorskip("torch")
    found.set_default_dtype(found.float64)
    return found


def compare(torch, loss, objective, control, direction=None):
    """Value, gradient and Hessian product of loss(leaves by name) against an objective's.

    Gradients of blocks on layers of length 1, and of Euclidean static blocks, are derivatives in
    their entries.
    """
    leaves = {name: torch.tensor(x, requires_grad=True) for name, x in control.items()}
    value = loss(leaves)
    slopes = torch.autograd.grad(value, list(leaves.values()), create_graph=direction is not None)
    known, gradient = objective.value_and_gradient(control)
    assert known == pytest.approx(value.item(), rel=1e-13)
    for name, slope in zip(leaves, slopes, strict=True):
        scale = max(np.abs(slope.detach().numpy()).max(), 1e-300)
        np.testing.assert_allclose(gradient[name], slope.detach(), rtol=0, atol=1e-12 * scale)
    if direction is None:
        return
    along = sum((slopes[i] * torch.tensor(direction[n])).sum() for i, n in enumerate(leaves))
    products = torch.autograd.grad(along, list(leaves.values()))
    found = objective.hvp(control, direction)
    for name, product in zip(leaves, products, strict=True):
        scale = np.abs(product.numpy()).max()
        np.testing.assert_allclose(found[name], product, rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("make", [discretize, ProductObjective])
@pytest.mark.parametrize("double", [False, True])
def test_products_of_matrices(torch, rng, make, double):
    n, layers = 4, 5
    r, a = rng.standard_normal((2, n, n))
    sigma = a @ a.T
    problem = deep_linear(r, layers, covariance=sigma, double=double)
    control, direction = (0.4 * problem.space.random(rng) for _ in range(2))

    def loss(leaves):
        total = -torch.tensor(r)
        for sign, block in zip((1, -1), leaves.values(), strict=False):
            product = torch.eye(n)
            for w in block:
                product = (torch.eye(n) + w) @ product
            total = total + sign * product
        return 0.5 * torch.trace(total @ torch.tensor(sigma) @ total.T)

    compare(torch, loss, make(problem), control, direction)


def convex(torch, leaves, part, x):
    """h_L (N, n) of one part from x (N, n)."""
    blocks = (leaves[f"{part}.{name}"] for name in ("weight1", "bias1", "weight2"))
    for v, b, w in zip(*blocks, strict=True):
        x = x + torch.relu(x @ v.T + b) @ w.T
    return x


def outputs(torch, leaves, pairs, x):
    """(N, P) of pairs of parts."""
    n, found = x.shape[1], []
    for p, names in enumerate(pairs):
        first = 2 * p * n
        c = leaves["readout.W"][p, first : first + 2 * n]
        r, s = (convex(torch, leaves, name, x) for name in names)
        found.append(r @ c[:n] - s @ c[n:] + leaves["readout.mu"][p])
    return torch.stack(found, dim=1)


def test_pairs_of_convex_networks(torch, rng):
    x, y = rng.uniform(size=(3, 7)), rng.standard_normal((2, 7))
    problem = convex_problem(x, y, 4, hidden=2)
    control = convex_start(problem, rng, weights=(0.0, 0.5), readout=(0.1, 1.0))

    def loss(leaves):
        f = outputs(torch, leaves, (("r0", "s0"), ("r1", "s1")), torch.tensor(x.T.copy()))
        return 0.5 * ((f - torch.tensor(y.T.copy())) ** 2).sum(1).mean()

    compare(torch, loss, discretize(problem), control)


def test_filters_before_convex_networks(torch, rng):
    images, y = rng.uniform(size=(5, 6, 6)), rng.standard_normal((1, 5))
    bank = FilterBank(images, filters=3, size=3, pool=2, copies=2)
    problem = convex_problem(np.ones((12, 5)), y, 2, hidden=2)
    objective = trained_inputs(problem, bank)
    own = convex_start(problem, rng, weights=(0.0, 0.5), readout=(0.1, 1.0))
    filters = rng.standard_normal((3, 3, 3))
    control = objective.space.sample(**{"initial.filters": filters}, **dict(own.items()))

    def loss(leaves):
        kernels, given = leaves["initial.filters"][:, None], torch.tensor(images)[:, None]
        responses = torch.relu(torch.nn.functional.conv2d(given, kernels))
        x = torch.nn.functional.max_pool2d(responses, 2).flatten(1)
        f = outputs(torch, leaves, (("r", "s"),), x)
        return 0.5 * ((f - torch.tensor(y.T.copy())) ** 2).sum(1).mean()

    compare(torch, loss, objective, control)
