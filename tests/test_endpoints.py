"""Endpoints are reached at least cost, their multipliers are derivatives of that cost, and those
that cannot be reached are named.
"""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Box,
    Chain,
    CostSum,
    Inputs,
    LearningProblem,
    Linear,
    NeuralODE,
    NeuralODE2,
    NormBound,
    Offset,
    Projection,
    SquaredError,
    State,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    Tracking,
    identity,
    relu,
    tanh,
    user_activation,
)
from solvers import (
    LBFGS,
    RK4,
    EverySteps,
    FrankWolfe,
    GradientDescent,
    Interrupted,
    Monitor,
    NewtonCG,
    RiccatiNewton,
    SolveError,
    Status,
    Stop,
    discretize,
    minimize,
    multistart,
    observed_orders,
    pontryagin_certificate,
    proximal_alternating,
    shoot,
    successive_approximation,
)

LEAST = np.arcsinh(2.0) ** 2


def affine(layers=16, target=2.0, **more):
    """TP-04 to TP-06: x' = w x + b from 0 to 2, int w^2 + b^2 least; V(y) = (asinh y)^2."""
    network = NeuralODE(1, identity)
    given = {
        "terminal": None,
        "penalty": Tikhonov(1.0),
        "endpoint": TerminalEquality(),
        "controls": TimeMesh(1.0, layers),
        **more,
    }
    return LearningProblem(network, np.zeros((1, 1)), np.full((1, 1), target), **given)


def two_points(layers=16, target=((-1.5, 1.0),), **more):
    """TP-08: x' = w tanh x + b in R, -0.5 to -1.5 and 0.5 to 1."""
    network = NeuralODE2(1, tanh)
    given = {
        "terminal": None,
        "penalty": Tikhonov(1.0),
        "endpoint": TerminalEquality(),
        "controls": TimeMesh(1.0, layers),
        **more,
    }
    return LearningProblem(network, np.array([[-0.5, 0.5]]), np.array(target), **given)


TIGHT = NewtonCG(gtol=1e-7)


def check_taylor(problem, c, rng):
    """J(c + s d) - J - s (g, d) - s^2 (d, Hd) / 2 = O(s^3)."""
    objective, d = discretize(problem), problem.space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    slope, bend = (objective.space.inner(x, d) for x in (gradient, objective.hvp(c, d)))
    sizes = 2.0 ** np.arange(6, 10)
    left = [objective.value(c + (1 / n) * d) - value - slope / n - bend / n**2 / 2 for n in sizes]
    assert observed_orders(sizes, np.abs(left))[-1] == pytest.approx(3.0, abs=0.05)


def test_least_norm_of_an_affine_flow():
    """V = (asinh 2)^2, V' = 2 asinh 2 / 5^(1/2); the control has constant speed A = asinh 2 and is
    A (tanh As, sech As).  Controls are constant on layers, so all errors are O(1 / layers^2).
    """
    errors, counts = [], np.array([8, 16, 32])
    for layers in counts.tolist():
        found = minimize(discretize(affine(layers), RK4()), TIGHT)
        assert found.status is Status.CONVERGED
        assert found.statistics["violation"] <= 1e-7
        a, s = LEAST**0.5, found.control.mesh.nodes[:-1] + 0.5 / layers
        w, b = found.control["weight"][:, 0, 0], found.control["bias"][:, 0]
        speed = np.hypot(w, b)
        errors.append(
            [
                abs(found.objective - LEAST),
                abs(-found.multiplier[0, 0] - 2 * a / 5**0.5),
                np.max(speed) - np.min(speed),
                np.max(np.hypot(w - a * np.tanh(a * s), b - a / np.cosh(a * s))),
            ]
        )
    for column in np.array(errors).T:
        assert observed_orders(counts, column)[-1] == pytest.approx(2.0, abs=0.15)
    assert errors[-1][0] < 3e-4


def test_TP08():
    """V = 1.3168174030, dV/dy = (-1.55381802, 1.10986964) = -s_m p_m, to the error of 32 layers."""
    problem = two_points(32)
    found = minimize(discretize(problem, RK4()), TIGHT)
    assert found.objective == pytest.approx(1.3168174030, rel=1e-6)
    slope = -found.multiplier * problem.sample_weights
    np.testing.assert_allclose(slope, [[-1.55381802, 1.10986964]], rtol=3e-6)
    end = discretize(problem, RK4()).run(found.control).states[-1]
    np.testing.assert_allclose(end, problem.target, rtol=0, atol=2e-8)


def test_the_multiplier_is_the_derivative_of_the_least_cost():
    """Of the discrete problem itself, by central differences in a target, with uneven weights."""
    weights, h = np.array([1.0, 3.0]), 1e-3

    def solved(shift):
        problem = two_points(6, sample_weights=weights, running=SquaredError(0.3))
        end = TerminalEquality(problem.target + np.array([[shift, 0.0]]))
        return minimize(replace(problem, endpoint=end), NewtonCG(gtol=1e-8))

    values = {n: solved(n * h).objective for n in (-2, -1, 1, 2)}
    slope = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * h)
    assert -0.25 * solved(0.0).multiplier[0, 0] == pytest.approx(slope, rel=1e-8)


def test_the_multiplier_is_the_costate_at_the_horizon():
    """Of the problem with the terminal cost (p, f), whose gradient vanishes at the control."""
    problem = two_points(8, running=SquaredError(0.4))
    found = minimize(problem, TIGHT)
    posed = discretize(problem.augmented(found.multiplier, 3.0))
    path = posed.run(found.control)
    np.testing.assert_allclose(path.remaining[-1], found.multiplier, rtol=0, atol=1e-7)
    assert posed.space.norm(path.gradient) < 1e-6


METHODS = [
    (GradientDescent(gtol=1e-5, max_iterations=4000), {}),
    (LBFGS(gtol=1e-6), {}),
    (LBFGS(gtol=1e-6), {"admissible": Box(weight=(-9, 9), bias=(-9, 9))}),
    (NewtonCG(gtol=1e-6), {}),
    (NewtonCG(gtol=1e-6, relative=True), {}),
    (RiccatiNewton(gtol=1e-6), {}),
]


@pytest.mark.parametrize(("method", "more"), METHODS)
def test_any_minimizer(method, more):
    found = minimize(affine(8, **more), method)
    best = minimize(affine(8), NewtonCG(gtol=1e-7))
    assert found.status is (Status.MINIMUM if type(method) is RiccatiNewton else Status.CONVERGED)
    assert found.objective == pytest.approx(best.objective, rel=1e-5)
    assert found.history["violation"][-1] <= method.gtol * 2.0
    assert found.multiplier == pytest.approx(best.multiplier, rel=2e-5)
    assert len(found.history["weight"]) == len(found.history["objective"])


def test_a_sparse_control_reaches_its_end():
    """x' = u with the price |u|_1 and |u| <= 4: any control of one sign costs 2."""
    network = NeuralODE(1, identity)
    space = network.controls(TimeMesh(1.0, 8), fixed={"weight": 0.0})
    problem = affine(controls=space, penalty=L1(1.0), admissible=Box(bias=(-4.0, 4.0)))
    found = minimize(problem, GradientDescent(gtol=1e-6, max_iterations=5000))
    assert found.objective == pytest.approx(2.0, abs=1e-6)
    assert found.multiplier == pytest.approx(-1.0, abs=1e-5)  # V(y) = |y|


def test_of_a_readout_with_a_cost_beside_it():
    """Half of the state is prescribed, the rest has a price: f_2(T) = 0 costs nothing."""
    network = NeuralODE2(2, tanh)
    first = TerminalEquality(np.array([[0.9, -0.2]]), Projection(np.array([[1.0, 0.0]])))
    problem = LearningProblem(
        network,
        np.array([[0.3, -0.4], [0.5, 0.1]]),
        np.zeros((2, 2)),
        TimeMesh(1.0, 5),
        penalty=Tikhonov(0.1),
        endpoint=first,
    )
    assert "with      sum_j w_j P_j f_j(T) = target for every sample" in str(problem)
    found = minimize(problem, TIGHT)
    end = discretize(problem).run(found.control).states[-1]
    np.testing.assert_allclose(end[0], [0.9, -0.2], rtol=0, atol=2e-7)
    assert found.multiplier.shape == (1, 2)
    assert np.max(np.abs(problem.residual(end, found.control))) < 2e-7
    check_taylor(problem.augmented(found.multiplier, 2.0), found.control, np.random.default_rng(1))
    batch = problem.batch([1])
    assert batch.constraint.target == pytest.approx(-0.2, rel=1e-14)
    assert batch.augmented(np.ones((1, 1)), 2.0).batch([0]).initial.shape == (2, 1)


def test_what_augmented_is(rng):
    """J + sum_m s_m [(p_m, e_m) + w |e_m|^2 / 2], up to the constant it names."""
    problem = two_points(5, sample_weights=[1.0, 3.0], terminal=SquaredError(0.7))
    p, weight, c = rng.standard_normal((1, 2)), 2.5, problem.space.random(rng)
    residual = problem.residual(discretize(problem).run(c).states[-1], c)
    extra = np.sum(problem.sample_weights * (p * residual + 0.5 * weight * residual**2))
    constant = np.sum(problem.sample_weights * p * p) / (2 * weight)
    posed = problem.augmented(p, weight)
    assert posed.endpoint is None
    assert discretize(posed).value(c) == pytest.approx(
        discretize(problem).value(c) + extra + constant, rel=1e-13
    )
    check_taylor(posed, c, rng)


def test_an_end_too_far_is_said_to_be():
    """|x'| <= 1 on [0, 1]: the target 2 stays 1 away."""
    network = NeuralODE(1, identity)
    space = network.controls(TimeMesh(1.0, 8), fixed={"weight": 0.0})
    problem = affine(controls=space, admissible=Box(bias=(-1.0, 1.0)))
    found = minimize(problem, LBFGS(gtol=1e-6), raise_on_failure=False)
    assert found.status is Status.ENDPOINT_MISSED
    assert found.statistics["violation"] == pytest.approx(1.0, rel=1e-12)
    assert "|readout(f(T)) - target| = 1, weight" in found.detail
    assert found.history["weight"][-1] >= 1e4 * found.history["weight"][0]
    with pytest.raises(SolveError, match="It seems unreachable, at least from this start"):
        minimize(problem, LBFGS(gtol=1e-6))


def test_an_order_that_no_flow_on_the_line_changes():
    problem = two_points(16, target=[[1.0, -1.5]])
    found = minimize(
        discretize(problem, RK4()), LBFGS(gtol=1e-6, max_iterations=100), raise_on_failure=False
    )
    assert found.status is Status.ENDPOINT_MISSED
    assert found.statistics["violation"] > 1.0


def test_a_start_on_the_endpoint():
    """From the answer itself, with a relative tolerance, and from a stationary start."""
    method = NewtonCG(gtol=1e-6, relative=True)
    found = minimize(affine(8), method)
    again = minimize(affine(8), method, initial=found.control)
    assert again.status is Status.CONVERGED
    assert again.objective == pytest.approx(found.objective, rel=1e-6)
    still = minimize(affine(8, target=0.0), method)
    assert still.status is Status.CONVERGED
    assert still.objective == 0.0


def test_monitors_and_interruption():
    found = minimize(
        affine(8), TIGHT, monitors=[Monitor(Stop(lambda s: s.step == 2, "enough"), EverySteps(1))]
    )
    assert found.status is Status.STOPPED
    assert len(found.history["violation"]) == 3
    assert "enough" in found.detail

    def interrupt(snapshot):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        minimize(affine(8), TIGHT, monitors=[Monitor(Stop(interrupt, ""), EverySteps(1))])
    assert stopped.value.solution.multiplier is not None


def test_many_starts():
    found = multistart(affine(6), NewtonCG(gtol=1e-7), 3, scale=0.5)
    assert len(found.clusters) == 1
    assert found.clusters[0].count == 3


def network_of(*maps, units=2):
    return Chain(units, maps)


def posed(network, initial, target, **more):
    given = {"terminal": None, "penalty": Tikhonov(1.0), "endpoint": TerminalEquality(), **more}
    return LearningProblem(
        network, np.array(initial, float), np.array(target, float), TimeMesh(1.0, 4), **given
    )


SQUARE = [[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]
TWICE = [[1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: posed(NeuralODE2(2, tanh), TWICE, [[1.0, 2.0], [0.0, 0.0]]),
            "samples 0 and 1 have equal initial values but different targets",
        ),
        (
            # the sum of opposite corners of a square is that of the others
            lambda: posed(NeuralODE(2, identity), SQUARE, [[1.0, 0.0, 0.0, 0.0], [0.0] * 4]),
            r"the 1 linear relations among the 4 vectors \(x_m, 1\), whose rank is 3 <= d \+ 1 = 3",
        ),
        (
            lambda: posed(network_of(Linear("w", 2)), [[1.0, 2.0, 3.0]] * 2, [[1.0, 2.0, 4.0]] * 2),
            "the 2 linear relations among the 3 vectors x_m, whose rank is 1 <= d = 2",
        ),
        (
            lambda: LearningProblem(
                NeuralODE2(2, tanh),
                np.array([[1.0, -1.0], [0.5, -0.5]]),
                np.array([[1.0, 2.0], [0.0, 0.0]]),
                NeuralODE2(2, tanh).controls(TimeMesh(1.0, 4), fixed={"bias": 0.0}),
                endpoint=TerminalEquality(),
            ),
            "samples 0 and 1 have opposite initial values, and keep them",
        ),
        (lambda: affine(endpoint="here"), r"endpoint must be a TerminalEquality or None"),
        (lambda: affine(endpoint=TerminalEquality(np.ones((2, 1)))), "target has shape"),
        (lambda: TerminalEquality(readout="State"), "readout must be a Readout"),
        (lambda: affine(endpoint=None), "terminal and running are both None"),
        (lambda: affine(endpoint=None, terminal=SquaredError()).augmented([[0.0]], 1.0), "no endp"),
        (lambda: affine().augmented([[0.0, 1.0]], 1.0), "multiplier has shape"),
        (lambda: affine().augmented([[0.0]], 0.0), "weight must be finite and positive"),
        (lambda: shoot(affine()), "shoot does not know the endpoint 'f"),
        (lambda: successive_approximation(affine()), "successive_approximation does not know"),
        (
            lambda: pontryagin_certificate(affine(), affine().space.zeros()),
            "pontryagin_certificate does not know the endpoint",
        ),
        (lambda: proximal_alternating(affine()), "proximal_alternating does not know"),
        (lambda: minimize(affine(), FrankWolfe()), "FrankWolfe needs a bounded set"),
        (lambda: CostSum([]), "costs must not be empty"),
        (lambda: CostSum([SquaredError()]), r"costs\[0\] must be a RunningCost"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


@pytest.mark.parametrize(
    "problem",
    [
        # one sample more than d + 1, and a nonlinear velocity: nothing forbids it
        lambda: posed(NeuralODE2(2, tanh), SQUARE, [[1.0, 0.0, 0.0, 0.0], [0.0] * 4]),
        lambda: posed(NeuralODE(2, relu), [[1.0, -1.0], [0.5, -0.5]], [[1.0, 2.0], [0.0, 0.0]]),
        lambda: posed(NeuralODE(2, identity), SQUARE, [[2.0, 1.0, 0.0, -1.0], [0.0] * 4]),
        lambda: posed(
            Chain(2, (Inputs(data=np.array([[0.0, 1.0]])), Linear("w", 2), Offset("b"))),
            TWICE,
            [[1.0, 2.0], [0.0, 0.0]],
        ),
        lambda: posed(NeuralODE(2, identity), SQUARE, [[1.0, 0.0, 0.0, 0.0]], readout=Affine(1)),
        # a bound of the norm is no affine map
        lambda: posed(
            network_of(Linear("w", 2), Offset("b"), NormBound(1.0)),
            SQUARE,
            [[1.0, 0.0, 0.0, 0.0], [0.0] * 4],
        ),
    ],
)
def test_what_is_not_refused(problem):
    assert problem().endpoint is not None


def test_sums_of_costs(rng):
    """Value and derivatives of a running and a terminal sum are the sums."""
    network = NeuralODE2(2, tanh)
    parts = [
        Tracking(SquaredError(0.3)),
        Tracking(SquaredError(), Affine(1, fixed={"readout.mu": 0.0}), np.ones((1, 3))),
        Tracking(SquaredError(), Affine(1, fixed={"readout.mu": 0.0}), np.zeros((1, 3))),
        Tracking(SquaredError(0.2), State(), np.ones((2, 3))),
    ]

    def of(terminal, running):
        return LearningProblem(
            network,
            np.arange(6.0).reshape(2, 3) / 5,
            np.ones((2, 3)),
            TimeMesh(1.0, 3),
            terminal=terminal,
            running=running,
            sample_weights=[1.0, 2.0, 3.0],
        )

    whole = of(CostSum(parts), CostSum(parts))
    c = whole.space.random(rng)
    check_taylor(whole, c, rng)
    apart = []
    for part in parts:
        problem = of(part, part)
        values = {b.name: c[b.name] for b in problem.space.trained}
        apart.append(discretize(problem).value(problem.space.sample(**values)))
    assert discretize(whole).value(c) == pytest.approx(sum(apart), rel=1e-13)
    assert discretize(whole.batch([2, 0])).value(c) > 0
    assert ") at t = T" in str(whole)


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
    np.testing.assert_allclose(found.control["weight"][:, 0, 0], wanted, rtol=0, atol=1e-8)
    assert found.objective == pytest.approx(wanted**2, abs=1e-8)
