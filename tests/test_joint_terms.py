"""L1(groups="joint") and Amplitude: |u(t)| over all blocks, its proximal map, and methods."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize

from continuum import (
    L1,
    Amplitude,
    Ball,
    Block,
    Box,
    Control,
    Interval,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from continuum.admissible import AdmissibleSet
from continuum.blocks import joint_norm
from solvers import LBFGS, Composite, GradientDescent, Nesterov, discretize, minimize

GRID = gauss_legendre(Interval(0, 2), 3)
SPACE = WidthDepth(GRID, tanh).controls(TimeMesh(2.0, 4))
JOINT = {
    "free": (L1(0.4, groups="joint"), None),
    "bounded": (L1(0.4, groups="joint"), Amplitude(0.9)),
    "bounded alone": (None, Amplitude(0.9)),
    "squares": (L1(0.4, groups="joint") + Tikhonov(0.3), Amplitude(0.9)),
    "square alone": (Tikhonov(0.3), Amplitude(0.9)),
    "entries": (L1(0.2), Amplitude(0.9)),
    "rows": (L1(0.2, groups="rows") + Tikhonov(0.3), Amplitude(0.9)),
    "nested": (L1(0.1) + L1(0.2, ["kernel"], "joint") + L1(0.2, groups="joint"), Amplitude(0.9)),
}
EVERY = pytest.mark.parametrize(("penalty", "admissible"), JOINT.values(), ids=JOINT.keys())


class Distance:
    """|x - centre|^2 / 2, an objective whose proximal gradient step of length 1 is prox(centre)."""

    space = SPACE

    def __init__(self, centre):
        self.centre = centre

    def value(self, control):
        return 0.5 * SPACE.norm(control - self.centre) ** 2

    def value_and_gradient(self, control):
        return self.value(control), control - self.centre

    def hvp(self, control, direction):
        return direction


def norms(control):
    """(K,): |u| on every layer, by hand."""
    w = GRID.weights
    squares = control["bias"] ** 2 @ w + np.einsum("kij,i,j->k", control["kernel"] ** 2, w, w)
    return np.sqrt(squares)


def test_values_by_hand(rng):
    x = SPACE.random(rng)
    size = norms(x)
    np.testing.assert_allclose(joint_norm(SPACE.trained, x), size, rtol=1e-14)
    joint = L1(0.3, groups="joint")
    assert joint.value(x) == pytest.approx(0.3 * 0.5 * size.sum(), rel=1e-14)
    np.testing.assert_allclose(joint.density(SPACE, x), 0.3 * size, rtol=1e-14)
    assert Amplitude(0.5).violation(x) == pytest.approx(size.max() - 0.5, rel=1e-14)
    p = Amplitude(0.5).project(x)
    np.testing.assert_allclose(norms(p), np.minimum(size, 0.5), rtol=1e-14)
    shrunk = joint.prox(x, 2.0)
    np.testing.assert_allclose(norms(shrunk), np.maximum(size - 0.6, 0.0), rtol=0, atol=1e-14)
    assert L1(0.3, ["bias"], "joint").value(x) == pytest.approx(
        0.15 * np.sqrt(x["bias"] ** 2 @ GRID.weights).sum(), rel=1e-14
    )


@EVERY
@pytest.mark.parametrize("step", [0.3, 1.7])
def test_the_joint_proximal_map_is_the_minimiser(penalty, admissible, step, rng):
    """|z - x|^2 / 2 + step R(z) is strongly convex on the set: at any other admissible z it is
    higher by at least |z - prox|^2 / 2.
    """
    both = Composite(Distance(SPACE.zeros()), penalty, admissible)
    x = SPACE.random(rng, 0.6)
    x = x.replaced(
        **{
            n: v * np.array([0.05, 1.0, 0.4, 3.0])[(...,) + (None,) * (v.ndim - 1)]
            for n, v in x.items()
        }
    )
    p = both.prox(x, step)

    def cost(z):
        return 0.5 * SPACE.norm(z - x) ** 2 + step * both.extra(z)

    lowest = cost(p)
    if admissible is not None:
        assert admissible.contains(p, 1e-14)
    for size in (1e-4, 1e-2, 0.3, 2.0):
        for _ in range(40):
            z = p + SPACE.random(rng, size)
            z = z if admissible is None else admissible.project(z)
            margin = 0.5 * SPACE.norm(z - p) ** 2
            assert cost(z) >= lowest + margin - 1e-14 * (1 + abs(lowest))


@EVERY
def test_the_joint_proximal_map_by_brute_force(penalty, admissible):
    """Two unknowns at a time, with weights 2 and 4: all points of a fine polar grid."""
    grid = gauss_legendre(Interval(0, 2), 1)
    space = WidthDepth(grid, tanh).controls(TimeMesh(1.0, 1))

    class Here(Distance):
        pass

    Here.space = space
    both = Composite(Here(space.zeros()), penalty, admissible)
    radius, angle = np.meshgrid(np.linspace(0, 0.9, 901), np.linspace(0, 2 * np.pi, 721))
    bias, kernel = radius * np.cos(angle) / 2**0.5, radius * np.sin(angle) / 2.0
    values = {"bias": bias[..., None], "kernel": kernel[..., None, None]}
    density = 0.0 if penalty is None else penalty.density(space, values)
    for a, b in ((0.2, 0.1), (0.5, -0.3), (-0.7, 0.9), (0.3, 0.02)):
        x = space.sample(bias=a, kernel=b)
        p = both.prox(x, 0.7)
        cost = 0.5 * (2.0 * (bias - a) ** 2 + 4.0 * (kernel - b) ** 2) + 0.7 * density
        at = np.unravel_index(np.argmin(cost), cost.shape)
        size = 2.0 * (bias[at] - p["bias"][0, 0]) ** 2
        size += 4.0 * (kernel[at] - p["kernel"][0, 0, 0]) ** 2
        if admissible is not None or float(joint_norm(space.trained, p)[0]) < 0.89:
            assert size**0.5 < 5e-3


@EVERY
@pytest.mark.parametrize("method", [GradientDescent(gtol=1e-10), Nesterov(gtol=1e-10)])
def test_methods_find_the_prox(penalty, admissible, method, rng):
    centre = SPACE.random(rng, 0.8)
    both = Composite(Distance(centre), penalty, admissible)
    best = minimize(both, method)
    assert SPACE.norm(best.control - both.prox(centre, 1.0)) < 1e-9


def xor(layers=12, **changes):
    """Four points of the plane, their product as target, by x' = w tanh(x) + b."""
    points = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    given = {
        "terminal": None,
        "running": SquaredError(1.0),
        "penalty": L1(0.5, groups="joint"),
        "admissible": Amplitude(1.5),
        **changes,
    }
    target = np.stack([points[0], points[0] + 0.5])
    return LearningProblem(NeuralODE2(2, tanh), points, target, TimeMesh(2.0, layers), **given)


def test_a_problem_as_the_issue_writes_it():
    start = xor(penalty=Tikhonov(0.1), admissible=None)
    problem = replace(start, penalty=L1(0.5, groups="joint"), admissible=Amplitude(1.0))
    text = str(problem)
    assert "0.5 int_0^T |(bias, weight)(t)| dt" in text or "|(weight, bias)(t)| dt" in text
    assert "in        Amplitude(1)" in text
    best = minimize(problem, Nesterov(gtol=1e-8))
    size = joint_norm(problem.space.trained, best.control)
    assert np.all(size <= 1.0 + 1e-12)
    on = size > 0.0
    assert on[0]
    assert not on[-1]
    assert np.all(np.diff(on.astype(int)) <= 0)
    assert np.sum((size > 1e-6) & (size < 1.0 - 1e-6)) <= 1  # one layer between on and off


def test_against_slsqp():
    """Three layers of a scalar problem, all unknowns by SciPy's SLSQP with |u|^2 <= M^2."""
    problem = LearningProblem(
        NeuralODE2(1, tanh),
        np.array([[0.3]]),
        np.array([[2.0]]),
        TimeMesh(2.0, 3),
        penalty=L1(0.3, groups="joint"),
        admissible=Amplitude(0.6),
    )
    objective = discretize(replace(problem, penalty=None))
    space, tau = problem.space, problem.mesh.steps[0]
    best = minimize(problem, Nesterov(gtol=1e-10))

    def cost(z):
        u = space.unflatten(z)
        smooth = 1e-14 + joint_norm(space.trained, u) ** 2
        return objective.value(u) + 0.3 * tau * np.sqrt(smooth).sum()

    def room(z):
        return 0.36 - joint_norm(space.trained, space.unflatten(z)) ** 2

    start = space.flatten(space.sample(weight=0.2, bias=0.2))
    found = scipy.optimize.minimize(
        cost,
        start,
        method="SLSQP",
        constraints={"type": "ineq", "fun": room},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert best.objective == pytest.approx(found.fun, abs=1e-9)
    assert best.objective <= found.fun + 1e-7


STATIC = Block("readout.W", (2, 2), "static", np.ones((2, 2)))


def test_static_blocks_are_not_part_of_it(rng):
    space = SPACE.joined((STATIC,), {})
    x = space.random(rng)
    assert Amplitude(0.1).named(space) == ("bias", "kernel")
    np.testing.assert_array_equal(Amplitude(0.1).project(x)["readout.W"], x["readout.W"])
    joint = L1(0.3, groups="joint")
    np.testing.assert_array_equal(joint.prox(x, 9.0)["readout.W"], x["readout.W"])
    assert not np.any(joint.prox(x, 9.0)["kernel"])
    both = Amplitude(0.1) & Box(**{"readout.W": (-1.0, 0.5)})
    both.check(space)
    assert both.interval("readout.W", space) == (-1.0, 0.5)
    assert both.interval("kernel", space) is None
    assert str(both.only(["bias", "kernel"], space)) == "Amplitude(0.1)"
    assert isinstance(both, AdmissibleSet)
    assert both.contains(both.project(Control(space, x)), 1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Amplitude(0.0), "bound must be finite and positive"),
        (lambda: Amplitude(np.nan), "bound must be finite and positive"),
        (lambda: xor(admissible=Amplitude(1.0) & Box(bias=(0, 1))), "two sets name.*bias"),
        (
            lambda: Amplitude(1.0).check(
                NeuralODE2(2, tanh).controls(TimeMesh(1.0, 2), in_time="nodes")
            ),
            "Amplitude on 'bias' needs in_time='layers'",
        ),
        (
            lambda: Amplitude(1.0).check(
                NeuralODE2(2, tanh).controls(TimeMesh(1.0, 2), in_time="static")
            ),
            "Amplitude needs a trained block that depends on time",
        ),
        (lambda: Amplitude(1.0).only(["bias"], SPACE), "couples bias, kernel"),
        (
            lambda: xor().holding(xor().space.zeros(), ["bias"]),
            r"L1\(.*\) couples .*: it cannot count some alone",
        ),
        (lambda: minimize(xor(), LBFGS()), "LBFGS cannot treat Amplitude"),
        (
            lambda: minimize(xor(admissible=Box(bias=(0, 1))), Nesterov()),
            "no proximal map is known for L1.* and Box.*: L1 by entries in a Box has one, and any",
        ),
        (
            lambda: Composite(Distance(SPACE.zeros()), L1(0.1, groups="joint"), Ball()),
            "no proximal map is known for L1.* and Ball",
        ),
        (
            lambda: Composite(Distance(SPACE.zeros()), Tikhonov(0.1, ["bias"]), Amplitude(1.0)),
            "no proximal map is known for Tikhonov.* and Amplitude",
        ),
        (
            lambda: Composite(
                Distance(SPACE.zeros()),
                L1(0.1, ["bias"], "joint") + L1(0.2, ["kernel"], "joint") + Tikhonov(0.1),
                Ball(),
            ),
            "no proximal map",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()
