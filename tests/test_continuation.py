"""Branches of stationary points: events where theory or a second computation puts them."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Box,
    Interval,
    LearningProblem,
    NeuralODE2,
    Projection,
    SobolevPenalty,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import (
    LBFGS,
    Arclength,
    Interrupted,
    NewtonCG,
    RiccatiNewton,
    SolveError,
    Status,
    continue_minimizers,
    discretize,
    equal_values,
    minimize,
)
from solvers.descent.families import ByHorizon, ByPenalty

UNIT = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)

PITCHFORK, AT_PITCHFORK = 0.045435789848547524, 1.155753093190364967
FOLD, AT_FOLD = 0.122946740495605500, 1.343645123966108474
EQUAL, AT_EQUAL = 0.104149844841278314, 1.255577413545264323
"""Newton's method in 40 digits for F = 0, Hv = 0, |v| = 1, and for F = 0 at two controls of one J,
from formulas of J written out for this one problem."""


def xor(penalty=0.1, horizon=1.0):
    """The corners (+-1, +-1) of a square, and the product of their coordinates."""
    corners = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    return LearningProblem(
        NeuralODE2(2, tanh),
        corners,
        corners[:1] * corners[1:],
        TimeMesh(horizon, 8),
        readout=Projection(np.array([[1.0, 0.0]])),
        terminal=SquaredError(1.0),
        penalty=Tikhonov(penalty),
    )


def linear(layers, target=-1.0, penalty=1.0):
    """J = (prod_k (1 + a_k) - target)^2 / 2 + penalty K sum_k a_k^2, a_k = w_k / K."""
    network = NeuralODE2(1, identity)
    space = network.controls(TimeMesh(1.0, layers), fixed={"bias": 0.0})
    one = np.ones((1, 1))
    return LearningProblem(network, one, target * one, space, penalty=Tikhonov(penalty))


def learned(rng, **options):
    """A small problem of four units, three samples, on five layers."""
    x, y = rng.standard_normal((2, 4, 3))
    given = {"controls": TimeMesh(2.0, 5), "penalty": Tikhonov(0.1), "target": y} | options
    return LearningProblem(UNIT, x, **given)


@pytest.fixture(scope="module")
def main():
    """The branch of XOR from strong penalties, which keeps the symmetry."""
    return continue_minimizers(xor(), "penalty", start=0.15, stop=0.04)


@pytest.fixture(scope="module")
def other(main):
    """The branch that crosses it."""
    return continue_minimizers(xor(), "penalty", start=0.15, stop=0.04, initial=main.events[0])


# -- families: derivatives in the parameter


def several(rng):
    readout = {"readout": Affine(2), "target": rng.standard_normal((2, 3))}
    static = UNIT.controls(TimeMesh(2.0, 5), in_time="static")
    running = {"running": SquaredError(0.7)}
    weights = {"sample_weights": np.array([1.0, 2.0, 0.0])}
    return [
        learned(rng),
        learned(rng, controls=TimeMesh(2.0, 5, 1.5), terminal=None, **running),
        learned(rng, controls=TimeMesh.through([0.0, 0.1, 0.5, 2.0]), **running),
        learned(rng, controls=static, penalty=Tikhonov(0.1, ["bias"]), **running),
        learned(rng, **readout, **running, **weights),
    ]


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("kind", [ByPenalty, ByHorizon])
def test_the_gradient_changes_with_the_parameter_as_said(kind, case, rng):
    family = kind(several(rng)[case])
    y, p = rng.standard_normal(family.problem.space.size), 1.7
    slope = family.evaluate(y, p)[3]

    def error(h):
        ends = [family.evaluate(y, p + s)[1] for s in (h, -h)]
        return np.linalg.norm((ends[0] - ends[1]) / (2 * h) - slope) / np.linalg.norm(slope)

    if kind is ByPenalty:
        assert error(0.1) < 1e-12  # J is linear in it
    else:
        errors = np.array([error(h) for h in (0.1, 0.05, 0.025)])
        assert np.all(np.abs(np.log2(errors[:-1] / errors[1:]) - 2.0) < 0.1)
        assert error(1e-3) < 1e-5


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("kind", [ByPenalty, ByHorizon])
def test_the_unknown_of_a_family_stands_for_a_control(kind, case, rng):
    family = kind(several(rng)[case])
    y = rng.standard_normal(family.problem.space.size)
    control, objective = family.control(y, 0.6), discretize(family.at(0.6))
    assert np.allclose(family.unknown(control, 0.6), y, rtol=1e-14, atol=0)
    value, gradient, hessian, _ = family.evaluate(y, 0.6)
    assert value == pytest.approx(objective.value(control), rel=1e-14)
    v = rng.standard_normal(len(y))
    direction = family.control(v, 0.6)
    inner, exact = objective.space.inner, objective.gradient(control)
    assert gradient @ v == pytest.approx(inner(exact, direction), rel=1e-12)
    bend = inner(objective.hvp(control, direction), direction)
    assert v @ hessian @ v == pytest.approx(bend, rel=1e-12)


# -- closed forms


def test_two_linear_layers_part_at_a_supercritical_pitchfork():
    """With p = (1 + a)(1 + b), a = b loses stability where a = -1/2, penalty 5/16; there begin
    the two branches a + b = -1, ab = 4 penalty - 1, of J = 6 penalty - 8 penalty^2.

    dJ/da = (p - t)(1 + b) + 4 penalty a, t = -1.  H in the direction (1, -1) is 4 penalty - p + t.
    """
    problem = linear(2)
    branch = continue_minimizers(problem, "penalty", start=1.0, stop=0.1)
    assert branch.status is Status.FOLLOWED
    (event,) = branch.events
    assert event.kind == "supercritical pitchfork"
    assert event.parameter == pytest.approx(5 / 16, rel=1e-11)
    assert abs(event.parameter - 5 / 16) <= 3 * event.error < 1e-11
    assert (event.negative, event.null) == ((0, 1), 1)
    weights = event.control["weight"][:, 0, 0] / 2
    assert np.allclose(weights, -0.5, rtol=1e-11, atol=0)
    assert abs(event.direction["weight"].sum()) < 1e-10
    assert np.all(branch.negative == (branch.values < event.parameter))
    found = []
    for side in (1, -1):
        crossing = continue_minimizers(
            problem, "penalty", start=1.0, stop=0.1, initial=event, side=side
        )
        assert crossing.values[-1] == 0.1
        assert np.all(crossing.negative == 0)
        assert np.all(crossing.values <= event.parameter * (1 + 1e-9))
        lam = crossing.values
        assert np.allclose(crossing.objectives, 6 * lam - 8 * lam**2, rtol=1e-11, atol=0)
        a, b = np.array([c["weight"][:, 0, 0] / 2 for c in crossing.controls]).T
        assert np.allclose(a + b, -1.0, rtol=0, atol=1e-9)
        assert np.allclose(a * b, 4 * lam - 1.0, rtol=0, atol=1e-9)
        found.append(np.sign(a[-1] - b[-1]))
    assert sorted(found) == [-1.0, 1.0]


def test_three_linear_layers_lose_two_directions_at_once():
    """The layers can be exchanged, so the two directions of zero sum lose stability together: where
    all a = -1/2, penalty 3/32.
    """
    branch = continue_minimizers(linear(3), "penalty", start=1.0, stop=0.05)
    (event,) = branch.events
    assert abs(event.parameter - 3 / 32) <= 3 * event.error < 1e-7
    assert event.kind == "branch point"
    assert (event.negative, event.null) == ((0, 2), 2)
    assert abs(event.direction["weight"].sum()) < 1e-7


def skewed():
    """A problem where the zero control is stationary whatever the penalty: the residual is normal
    to what biases and weights can do to first order.
    """
    x = np.array([[-1.3, -0.4, 0.5, 1.7]])
    seen = np.array([np.ones(4), np.tanh(x[0])])
    residual = np.linalg.svd(seen)[2][2]
    return LearningProblem(
        NeuralODE2(1, tanh), x, x + 8.0 * residual, TimeMesh(1.0, 3), penalty=Tikhonov(1.0)
    )


def test_zero_is_crossed_at_a_transcritical_point():
    """There the Hessian is that of the terminal cost plus 2 penalty times the identity."""
    problem = skewed()
    family = ByPenalty(problem)
    hessian = family.evaluate(np.zeros(problem.space.size), 1.0)[2]
    least = np.linalg.eigvalsh(hessian)[0] - 2.0
    branch = continue_minimizers(
        problem, "penalty", start=2.0, stop=0.1, initial=problem.space.zeros()
    )
    assert all(problem.space.norm(control) < 1e-12 for control in branch.controls)
    event = branch.events[0]
    assert event.parameter == pytest.approx(-least / 2, rel=1e-11)
    assert event.kind == "transcritical"
    ends = [
        continue_minimizers(
            problem,
            "penalty",
            Arclength(max_points=5),
            start=2.0,
            stop=0.1,
            initial=event,
            side=side,
            raise_on_failure=False,
        ).values[-1]
        for side in (1, -1)
    ]
    assert min(ends) < event.parameter < max(ends)


# -- XOR: a saddle that looks solved


def test_xor_loses_stability_at_a_subcritical_pitchfork(main, other):
    (event,) = main.events
    assert event.kind == "subcritical pitchfork"
    assert event.parameter == pytest.approx(PITCHFORK, rel=1e-12)
    assert event.objective == pytest.approx(AT_PITCHFORK, rel=1e-12)
    assert abs(event.parameter - PITCHFORK) <= 3 * event.error
    assert (event.negative, event.null) == ((0, 1), 1)
    assert np.all(main.negative == (main.values < PITCHFORK))
    assert np.max(np.abs([c["weight"][:, 0, 1] for c in main.controls])) < 1e-8
    assert other.values[0] == event.parameter
    assert np.all(np.diff(other.values[:5]) > 0)


def test_the_other_branch_of_xor_turns_at_a_fold(other):
    (event,) = other.events
    assert event.kind == "fold"
    assert event.parameter == pytest.approx(FOLD, rel=1e-12)
    assert event.objective == pytest.approx(AT_FOLD, rel=1e-12)
    assert abs(event.parameter - FOLD) <= 3 * event.error
    assert (event.negative, event.null) == ((1, 0), 1)
    turned = np.argmax(other.values)
    assert np.all(other.negative[1:turned] == 1)
    assert np.all(other.negative[turned + 1 :] == 0)
    assert other.values[-1] == 0.04
    up, down = other.pieces()
    assert (up[0], down[0]) == (1, 0)
    assert np.all(np.diff(up[1]) > 0)
    assert np.all(np.diff(down[1]) < 0)
    assert up[1][-1] == down[1][0] == event.parameter
    assert up[2][-1] == down[2][0] == event.objective
    assert len(up[1]) + len(down[1]) == len(other) + 2


def test_the_halves_of_the_other_branch_are_mirror_images(main, other):
    """Changing the sign of unit 1 and exchanging the samples leaves J as it is."""
    mirrored = continue_minimizers(
        xor(), "penalty", start=0.15, stop=0.04, initial=main.events[0], side=-1
    )
    one, two = other.controls[-1], mirrored.controls[-1]
    signs = np.array([-1.0, 1.0])
    assert np.allclose(two["bias"], signs * one["bias"], rtol=0, atol=1e-8)
    assert np.allclose(two["weight"], signs[:, None] * signs * one["weight"], rtol=0, atol=1e-8)
    assert np.max(np.abs(one["bias"][:, 0])) > 0.1


def test_equal_values_of_the_two_branches(main, other):
    (event,) = equal_values(main, other)
    assert event.kind == "equal values"
    assert event.parameter == pytest.approx(EQUAL, rel=1e-13)
    assert event.objective == pytest.approx(AT_EQUAL, rel=1e-13)
    assert event.negative == (0, 0)
    assert main.values[event.after] > event.parameter > main.values[event.after + 1]
    problem = xor(event.parameter)
    values = [
        discretize(problem).value(c) for c in (event.control, event.control + event.direction)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-13)
    assert values[0] == pytest.approx(event.objective, rel=1e-13)
    (swapped,) = equal_values(other, main)
    assert swapped.parameter == pytest.approx(event.parameter, rel=1e-12)
    assert equal_values(main, main) == ()


def test_horizons_and_penalties_give_one_curve(main):
    """With a terminal cost alone and a velocity linear in the control, J depends on penalty / T."""
    branch = continue_minimizers(xor(0.1), "horizon", start=0.8, stop=2.4)
    (event,) = branch.events
    assert event.kind == "subcritical pitchfork"
    assert 0.1 / event.parameter == pytest.approx(PITCHFORK, rel=1e-11)
    assert event.objective == pytest.approx(AT_PITCHFORK, rel=1e-12)
    assert abs(0.1 / event.parameter - PITCHFORK) * event.parameter**2 / 0.1 <= 3 * event.error
    crossing = continue_minimizers(
        xor(0.1), "horizon", Arclength(max_step=0.2), start=0.8, stop=2.4, initial=event
    )
    assert 0.1 / crossing.events[0].parameter == pytest.approx(FOLD, rel=1e-11)
    assert crossing.controls[-1].mesh.horizon == crossing.values[-1] == 2.4


@pytest.mark.parametrize("minimizer", [NewtonCG(), RiccatiNewton()])
def test_methods_that_look_for_negative_curvature_leave_the_saddle_of_xor(minimizer):
    """From zero and from the saddle itself."""
    problem = xor(0.02)
    saddle = minimize(problem, LBFGS(gtol=1e-8)).control
    for start in (None, saddle):
        found = minimize(problem, minimizer, initial=start)
        assert found.objective == pytest.approx(0.37632500840, rel=1e-10)
        branch = continue_minimizers(
            problem, "penalty", start=0.02, stop=0.021, initial=found.control
        )
        assert branch.negative[0] == branch.null[0] == 0


@pytest.mark.parametrize("minimizer", [LBFGS(), NewtonCG(products=0)])
def test_methods_that_do_not_say_that_they_cannot_tell(minimizer):
    """At 0.02 the way down from zero keeps the symmetry and ends on the branch of Morse index 1."""
    problem = xor(0.02)
    found = minimize(problem, minimizer)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(1.0907906963, rel=1e-10)
    assert "does not tell them apart" in found.status.value
    branch = continue_minimizers(problem, "penalty", start=0.02, stop=0.03, initial=found.control)
    assert np.all(branch.negative == 1)
    assert branch.objectives[0] == pytest.approx(found.objective, rel=1e-11)


def test_every_point_is_stationary_and_its_hessian_is_as_said(other):
    """At a third of the points, by the objective of that parameter alone."""
    for k in range(1, len(other), 12):
        objective = discretize(xor(other.values[k]))
        value, gradient = objective.value_and_gradient(other.controls[k])
        space = objective.space
        assert value == pytest.approx(other.objectives[k], rel=1e-14)
        assert space.norm(gradient) <= 1e-9
        rows = [
            space.flatten(objective.hvp(other.controls[k], space.unflatten(e)))
            for e in np.eye(space.size)
        ]
        mu = np.linalg.eigvalsh(np.array(rows))
        assert mu[0] == pytest.approx(other.least[k], abs=1e-12)
        assert int(np.sum(mu < 0)) == other.negative[k]


# -- how it ends, and what it refuses


def test_a_branch_says_when_it_is_cut_short():
    short = Arclength(max_points=3)
    with pytest.raises(SolveError, match="cap on the number of points") as caught:
        continue_minimizers(linear(2), "penalty", short, start=1.0, stop=0.1)
    assert caught.value.solution.status is Status.BRANCH_CAPPED
    branch = continue_minimizers(
        linear(2), "penalty", short, start=1.0, stop=0.1, raise_on_failure=False
    )
    assert len(branch) == len(branch.controls) == 3
    assert branch.values[0] == 1.0


def test_an_interrupted_branch_is_kept(monkeypatch):
    family, asked = ByPenalty.evaluate, []

    def evaluate(self, y, value):
        asked.append(value)
        if len(asked) > 30:
            raise KeyboardInterrupt
        return family(self, y, value)

    monkeypatch.setattr(ByPenalty, "evaluate", evaluate)
    with pytest.raises(Interrupted) as caught:
        continue_minimizers(linear(2), "penalty", start=1.0, stop=0.1)
    branch = caught.value.partial
    assert branch.status is caught.value.solution.status is Status.INTERRUPTED
    assert len(branch) > 3
    assert caught.value.solution.control is branch.controls[-1]


def test_a_start_that_is_far_from_stationary_is_named(rng):
    problem = xor()
    far = problem.space.random(rng, 5.0)
    with pytest.raises(SolveError, match="however short the step") as caught:
        continue_minimizers(problem, "penalty", start=0.1, stop=0.05, initial=far)
    assert caught.value.solution.status is Status.BRANCH_LOST


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"penalty": None}, ValueError, "one Tikhonov term"),
        ({"penalty": Tikhonov(1.0) + Tikhonov(1.0, ["bias"])}, ValueError, "one Tikhonov term"),
        ({"penalty": Tikhonov(1.0) + L1(1.0, ["bias"])}, TypeError, "L1"),
        ({"admissible": Box(bias=(-1, 1))}, TypeError, "Box"),
        ({"terminal": None, "endpoint": TerminalEquality()}, TypeError, "TerminalEquality"),
        ({"controls": TimeMesh(1.0, 200)}, ValueError, "4000"),
        (
            {"controls": UNIT.controls(TimeMesh(2.0, 5), in_time="nodes")},
            ValueError,
            "piecewise linear",
        ),
    ],
)
def test_problems_it_cannot_follow_are_named(options, kind, words, rng):
    with pytest.raises(kind, match=words):
        continue_minimizers(learned(rng, **options), "penalty", start=1.0, stop=0.1)


def test_horizons_of_costs_that_depend_on_time_are_refused(rng):
    moving = Tracking(SquaredError(), target=lambda t: np.full((4, 3), t))
    nodes = UNIT.controls(TimeMesh(2.0, 5), in_time="nodes")
    cases = [
        ({"running": moving}, "fixed target"),
        ({"controls": nodes, "penalty": SobolevPenalty(1.0)}, "known for Tikhonov"),
    ]
    for options, words in cases:
        with pytest.raises(TypeError, match=words):
            continue_minimizers(learned(rng, **options), "horizon", start=1.0, stop=2.0)


def test_arguments_that_do_not_fit_are_named(main, other):
    follow = continue_minimizers
    problem = xor()
    for given, kind, words in [
        ({"parameter": "depth"}, ValueError, "parameter"),
        ({"start": -1.0}, ValueError, "start"),
        ({"stop": 0.1}, ValueError, "differ"),
        ({"side": 2}, ValueError, "side"),
        ({"initial": other.events[0]}, ValueError, "fold"),
        ({"initial": xor(horizon=2.0).space.zeros()}, ValueError, "initial"),
        ({"method": LBFGS()}, TypeError, "method"),
        ({"problem": discretize(problem)}, TypeError, "problem"),
    ]:
        asked = {"problem": problem, "parameter": "penalty", "start": 0.1, "stop": 0.05} | given
        with pytest.raises(kind, match=words):
            follow(**asked)
    doubled = replace(problem, terminal=SquaredError(2.0))
    with pytest.raises(ValueError, match="another problem"):
        follow(doubled, "penalty", start=0.1, stop=0.05, initial=main.events[0])
    with pytest.raises(ValueError, match="max_step"):
        Arclength(max_step=0.0)


@pytest.mark.parametrize("mesh", [TimeMesh(2.0, 5, 1.5), TimeMesh.through([0.0, 0.1, 0.5, 2.0])])
def test_layers_keep_their_shares_of_a_stretched_mesh(mesh):
    longer = mesh.stretched(3.0)
    assert longer.horizon == 3.0
    assert np.allclose(longer.nodes, 1.5 * mesh.nodes, rtol=1e-15, atol=0)
    with pytest.raises(ValueError, match=r"horizon|nodes"):
        mesh.stretched(-1.0)
