"""Laws 1 to 3 with a term s |c| over all blocks and a bound |c| <= M.

Law 1: the derivative of layer k's Hamiltonian, without that term, is layer k of the gradient of the
rest of J.  The minimiser of H lies below every admissible control.  Laws 2 and 3: what shooting
finds, the certificate accepts; with a Tikhonov term its control is Lipschitz in time, and the gap
of its mean over layers C tau^2; without one it is bang-off, and there is no gap where a layer ends
at the switch.
"""

from dataclasses import replace

import numpy as np
import pytest
from law_cases import problem

from continuum import (
    L1,
    Amplitude,
    Box,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    identity,
    tanh,
)
from continuum.blocks import joint_norm
from solvers import (
    RK4,
    ProximalNewton,
    discretize,
    layer_hamiltonian,
    minimize,
    pontryagin_certificate,
    shoot,
    successive_approximation,
)

JOINT = L1(0.2, groups="joint")
TERMS = {
    "bang-off": (JOINT, Amplitude(0.8)),
    "L1 and square": (JOINT + Tikhonov(0.1), None),
    "all three": (JOINT + Tikhonov(0.1), Amplitude(0.8)),
    "bound": (None, Amplitude(0.8)),
    "bound and square": (Tikhonov(0.1), Amplitude(0.8)),
    "entries in the ball": (L1(0.1) + Tikhonov(0.2), Amplitude(0.8)),
    "entries, joint, ball": (L1(0.1) + JOINT, Amplitude(0.8)),
    "entries in a box": (L1(0.2), Box(bias=(-0.5, 0.8), kernel=(-0.3, 0.4))),
    "entries, square, box": (L1(0.2) + Tikhonov(0.3, ["bias"]), Box(bias=(0.1, 2), kernel=(-2, 2))),
}
EVERY = pytest.mark.parametrize(("penalty", "admissible"), TERMS.values(), ids=TERMS.keys())


def stated(penalty, admissible, **changes):
    """Two samples on a grid with uneven weights, by layers of uneven lengths."""
    return problem("autonomous State both", penalty=penalty, admissible=admissible, **changes)


@EVERY
def test_law_1_the_gradient_without_the_term_of_degree_one(penalty, admissible, rng):
    task = stated(penalty, admissible)
    control = task.space.random(rng, 0.5)
    terms = () if penalty is None else tuple(t for t in penalty.terms if t.smooth)
    smooth = replace(task, penalty=sum(terms[1:], terms[0]) if terms else None)
    wanted = discretize(smooth).gradient(control)
    found = layer_hamiltonian(discretize(task), control).gradient(control)
    for name, x in wanted.items():
        np.testing.assert_allclose(found[name], x, rtol=0, atol=1e-12 * np.max(np.abs(x)))


@EVERY
def test_the_minimiser_of_H_is_below_every_admissible_control(penalty, admissible, rng):
    """Random controls, near and far, and those that lie on the way to the minimiser."""
    task = stated(penalty, admissible)
    control = task.space.random(rng, 0.5)
    control = control if admissible is None else admissible.project(control)
    h = layer_hamiltonian(discretize(task), control)
    found = h.minimiser(dict(control.items()))
    assert found.exact
    assert np.all(found.gap > 0.0)
    np.testing.assert_allclose(found.value + found.gap, h.value(control), rtol=1e-13)
    best = control.replaced(**found.values)
    assert admissible is None or admissible.contains(best, 1e-14)
    for size in (1e-3, 0.03, 0.3, 2.0):
        for _ in range(50):
            trial = best + task.space.random(rng, size)
            trial = trial if admissible is None else admissible.project(trial)
            assert np.all(h.value(trial) >= found.value - 1e-13)
    if admissible is not None:
        local = h.descend(dict(best.items()), 50)
        assert np.max(found.value - local.value) < 1e-12


def plane(layers, **changes):
    """x' = w tanh(x) + b in the plane, two samples, a running cost."""
    given = {"penalty": L1(0.3, groups="joint") + Tikhonov(0.1), "admissible": Amplitude(1.0)}
    given |= {"running": SquaredError(1.5), **changes}
    return LearningProblem(
        NeuralODE2(2, tanh),
        np.array([[0.5, -1.0], [0.2, 0.4]]),
        np.array([[1.0, 0.5], [-0.5, 0.8]]),
        TimeMesh(1.5, layers),
        **given,
    )


def test_the_gap_vanishes_on_the_extremal_with_a_square():
    gaps, values = [], []
    for layers in (16, 32):
        task = plane(layers)
        start = minimize(discretize(task, RK4()), ProximalNewton(gtol=1e-9)).control
        found = shoot(task, initial=start, rtol=1e-10)
        size = joint_norm(task.space.trained, found.control)
        assert np.any(size == 0.0)
        assert np.any(size > 0.99)
        judged = pontryagin_certificate(task, found.control)
        assert judged.applies
        assert judged.gap_exact
        assert "has no second derivative" in judged.curvature_reason
        gaps.append(judged.total_gap)
        values.append(found.objective)
    assert gaps[0] / gaps[1] == pytest.approx(4.0, abs=0.05)
    assert 0 < gaps[1] < 1e-3 * values[0]
    assert values[0] == pytest.approx(values[1], rel=1e-8)


def line(mesh):
    """x' = u from 0 to 1, |u| <= 2, int |x - 1|^2 + |u| / 2 dt: TP-29, T = 2."""
    network = NeuralODE2(1, identity)
    return LearningProblem(
        network,
        np.zeros((1, 1)),
        np.ones((1, 1)),
        network.controls(mesh, fixed={"weight": 0.0}),
        terminal=None,
        running=SquaredError(1.0),
        penalty=L1(0.5, groups="joint"),
        admissible=Amplitude(2.0),
    )


def test_bang_off_shooting_certificate_and_descent():
    """u = 2 to T* = 0.4208438024, J = 0.6264272755."""
    found = shoot(line(TimeMesh(2.0, 10)))
    assert found.objective == pytest.approx(0.6264272755, abs=1e-10)
    np.testing.assert_allclose(found.switching_times("joint"), [0.4208438024], rtol=0, atol=1e-9)
    time = found.switching_times("joint")[0]
    task = line(TimeMesh.through(np.append(np.linspace(0.0, time, 4), np.linspace(time, 2, 6)[1:])))
    best = task.space.sample(bias=lambda t: np.where(t < time, np.full(1, 2.0), np.zeros(1)))
    judged = pontryagin_certificate(task, best)
    assert judged.total_gap < 1e-9
    assert judged.projected_gradient < 1e-9
    assert judged.objective == pytest.approx(0.6264272755, abs=5e-3)  # of the trapezoid rule
    np.testing.assert_allclose(judged.switching_times("joint"), [time], rtol=0, atol=1e-12)
    assert [s.index for s in judged.switches] == [()]
    assert "0.420844: joint" in str(judged)
    wrong = pontryagin_certificate(task, task.space.sample(bias=1.0))
    assert wrong.total_gap > 0.05


def test_successive_approximation_takes_them():
    """Relaxed, it ends where the proximal method does."""
    task = plane(8, penalty=L1(0.3, groups="joint") + Tikhonov(2.0))
    best = minimize(task, ProximalNewton(gtol=1e-10))
    found = successive_approximation(task, relaxation="search", gtol=1e-12, max_iterations=500)
    assert found.statistics["exact"] == 1.0
    assert found.objective == pytest.approx(best.objective, rel=1e-11)
