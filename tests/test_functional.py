"""Running costs of state, control and time: their derivatives, their quadrature, their problems."""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from continuum import (
    L1,
    AbsoluteError,
    Affine,
    Control,
    CostSum,
    CrossEntropy,
    Integral,
    Interval,
    LearningProblem,
    Logistic,
    NeuralODE,
    NeuralODE2,
    Projection,
    RunningCost,
    SobolevPenalty,
    Softmax,
    SquaredError,
    State,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    check_derivatives,
    identity,
    staging,
    tanh,
    trapezoid,
)
from continuum.arrays import to_host
from solvers import (
    LBFGS,
    RK4,
    DormandPrince,
    Euler,
    Heun,
    ImplicitMidpoint,
    continuous_adjoint,
    discretize,
    evaluate,
    integrate,
    minimize,
    observed_orders,
    pontryagin_certificate,
    shoot,
)
from solvers.adjoint import discrete_cost
from solvers.flow.program import Loop
from solvers.pontryagin.hamiltonian import layer_hamiltonian

GRID = trapezoid(Interval(0, 1), 4)
WEIGHTS = 1.0 + np.arange(12.0).reshape(4, 3)
DENSE = WidthDepth(GRID, tanh)
MESH = TimeMesh(1.3, 3, 1.5)


class Work(RunningCost):
    """L = e^{-t} / 2 sum_b |c_b|^2 (1 + |f|^2 / 2): state, control and time at once."""

    def __init__(self, *names: str):
        self.names = names

    def _parts(self, network, f, c, t):
        blocks = {b.name: b for b in network.blocks() if b.name in self.names}
        energy = sum(0.5 * np.sum(b.weights * c[n] ** 2) for n, b in blocks.items())
        size = 1.0 + 0.5 * np.sum(network.weights[:, None] * f**2, axis=0)
        return np.exp(-t), blocks, energy, size

    def density(self, network, f, c, t):
        decay, _, energy, size = self._parts(network, f, c, t)
        return decay * energy * size

    def vjp(self, network, f, c, t, q):
        decay, blocks, energy, size = self._parts(network, f, c, t)
        return decay * energy * q * f, {n: decay * np.sum(q * size) * c[n] for n in blocks}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        decay, blocks, energy, size = self._parts(network, f, c, t)
        more = sum(np.sum(blocks[n].weights * c[n] * dc[n]) for n in blocks if n in dc)
        grown = np.sum(q * np.sum(network.weights[:, None] * f * df, axis=0))
        total, bars = np.sum(q * size), {}
        for n in blocks:
            bars[n] = decay * (grown * c[n] + total * dc.get(n, 0.0 * c[n]))
        return decay * q * (more * f + energy * df), bars

    def formula(self):
        return "exp(-t)/2 |c|^2 (1 + |f|^2/2)"


class StateOnly(RunningCost):
    """L = cos(t) sum_i w_i f_i^3 / 3."""

    def density(self, network, f, c, t):
        return np.cos(t) * np.sum(network.weights[:, None] * f**3, axis=0) / 3.0

    def vjp(self, network, f, c, t, q):
        return np.cos(t) * q * f**2, {}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        return 2.0 * np.cos(t) * q * f * df, {}

    def reads(self, network):
        return ()

    def formula(self):
        return "cos(t) sum_i w_i f_i^3 / 3"


def moving(t):
    return np.outer([np.cos(t), np.sin(t)], [1.0, 2.0, 3.0])


def costs(names):
    return {
        "work": Work(*names),
        "state and time": StateOnly(),
        "tracking": Tracking(SquaredError(0.7)),
        "moving target": Tracking(SquaredError(0.7), target=moving),
        "moving target, own readout": Tracking(
            SquaredError(0.7), Projection(np.arange(8.0).reshape(2, 4) / 5), moving
        ),
        "trained readout": Tracking(SquaredError(0.7), Affine(2, link=tanh), moving),
    }


DENSE_COSTS = costs(["bias", "kernel"])


def learning(rng, network=DENSE, in_time="layers", **changes):
    problem = LearningProblem(
        network,
        rng.standard_normal((4, 3)),
        rng.standard_normal((2, 3)),
        network.controls(MESH, in_time=in_time),
        readout=Projection(rng.standard_normal((2, 4))),
        sample_weights=np.array([1.0, 2.0, 3.0]),
    )
    return replace(problem, **changes)


def taylor_slopes(objective, rng):
    """Orders of J(c + s d) - J - s (g, d), and of that less s^2 (d, Hd) / 2."""
    space = objective.space
    c, d = space.random(rng), space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    slope, bend = space.inner(gradient, d), space.inner(objective.hvp(c, d), d)
    assert abs(slope) > 1e-3
    assert abs(bend) > 1e-3
    sizes = 2.0 ** np.arange(8, 12)
    remainders = [objective.value(c + (1 / n) * d) - value - slope / n for n in sizes]
    further = [r - 0.5 * bend / n**2 for r, n in zip(remainders, sizes, strict=True)]
    return [observed_orders(sizes, np.abs(x))[-1] for x in (remainders, further)]


@pytest.mark.parametrize("cost", DENSE_COSTS.values(), ids=DENSE_COSTS.keys())
def test_derivatives_of_a_running_cost(cost, rng):
    """vjp is the adjoint of the derivative of density, vjp_derivative the derivative of vjp."""
    problem = learning(rng, running=cost, terminal=None)
    functional, space, t = problem.functional, problem.space, 0.4
    f, df = rng.standard_normal((2, 4, 3))
    c, dc = space.random(rng).at(t), space.random(rng).at(t)
    q, h = rng.standard_normal(3), 1e-6
    p, bars = functional.running_vjp(f, c, t, q)
    moved = [
        functional.running_costs(f + s * df, {n: x + s * dc[n] for n, x in c.items()}, t)
        for s in (h, -h)
    ]
    pairing = np.sum(GRID.weights[:, None] * p * df)
    for block in space.trained:
        if block.name in bars:
            pairing += np.sum(block.weights * bars[block.name] * dc[block.name])
    assert np.sum(q * (moved[0] - moved[1])) / (2 * h) == pytest.approx(pairing, rel=1e-7)
    there, back = (
        functional.running_vjp(f + s * df, {n: x + s * dc[n] for n, x in c.items()}, t, q)
        for s in (h, -h)
    )
    dp, dbars = functional.running_vjp_derivative(f, c, t, df, dc, q)
    np.testing.assert_allclose(dp, (there[0] - back[0]) / (2 * h), rtol=1e-6, atol=1e-8)
    assert dbars.keys() == bars.keys()
    for name in bars:
        np.testing.assert_allclose(
            dbars[name], (there[1][name] - back[1][name]) / (2 * h), rtol=1e-6, atol=1e-8
        )


def test_check_derivatives_agrees():
    ones = np.ones((4, 3))
    own = {
        **{n: x for n, x in DENSE_COSTS.items() if n not in ("tracking", "moving target")},
        "state": Tracking(SquaredError(), target=ones),
        "sum": CostSum([Tracking(loss, target=ones) for loss in (SquaredError(), Logistic())]),
        "of a stage": staging.Later(Tracking(SquaredError(), target=lambda t: t * ones), 0.3),
    }
    for cost in own.values():
        report = check_derivatives(cost, DENSE)
        assert report.ok, str(report)
    with pytest.raises(ValueError, match="target is needed by SquaredError"):
        check_derivatives(Tracking(SquaredError()), DENSE)


@pytest.mark.parametrize("cost", DENSE_COSTS.values(), ids=DENSE_COSTS.keys())
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("running_on", ["layers", "steps"])
def test_taylor_slopes_compiled(cost, in_time, running_on, rng):
    problem = learning(rng, in_time=in_time, running=cost, penalty=Tikhonov(0.1))
    objective = discretize(problem, Heun(), 2, running_on)
    assert taylor_slopes(objective, rng) == pytest.approx([2.0, 3.0], abs=0.2)


@pytest.mark.parametrize(
    "stepper", [Euler(), RK4(), ImplicitMidpoint()], ids=["Euler", "RK4", "implicit"]
)
@pytest.mark.parametrize("in_time", ["layers", "nodes"])
def test_taylor_slopes_generic(stepper, in_time, rng):
    network = NeuralODE(4, tanh)
    problem = learning(rng, network, in_time, running=Work("bias", "weight"), terminal=None)
    objective = discretize(problem, stepper, 2, "steps")
    assert taylor_slopes(objective, rng) == pytest.approx([2.0, 3.0], abs=0.2)


def wd(rng, in_time="layers", **changes):
    """The same on WidthDepth, for the compiled sweep, with a cost that depends on everything."""
    return learning(rng, DENSE, in_time, **{"running": Work("bias", "kernel"), **changes})


@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("names", [("bias",), ("bias", "kernel")])
def test_compiled_and_generic_sweeps_agree(in_time, names, rng, monkeypatch):
    objective = discretize(wd(rng, in_time, running=Work(*names)), RK4(), 2, "steps")
    c, d = objective.space.random(rng), objective.space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    product, path = objective.hvp(c, d), objective.run(c)
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    assert objective.value(c) == pytest.approx(value, rel=1e-14)
    slow, bend, again = objective.gradient(c), objective.hvp(c, d), objective.run(c)
    for name in gradient:
        np.testing.assert_allclose(slow[name], gradient[name], rtol=0, atol=1e-13)
        np.testing.assert_allclose(bend[name], product[name], rtol=0, atol=1e-12)
    np.testing.assert_allclose(again.costates, path.costates, rtol=0, atol=1e-13)


@pytest.mark.parametrize("network", [DENSE, NeuralODE(4, tanh)], ids=["compiled", "generic"])
def test_a_little_memory_gives_the_same_gradient(network, rng):
    names = [b.name for b in network.blocks()]
    problem = learning(rng, network, running=Work(*names))
    c = problem.space.random(rng)
    value, gradient = discretize(problem, Heun(), 4, "steps").value_and_gradient(c)
    small = discretize(problem, Heun(), 4, "steps", memory=1000)
    found, slope = small.value_and_gradient(c)
    assert found == pytest.approx(value, rel=1e-14)
    assert small.value(c) == pytest.approx(value, rel=1e-14)
    for name in names:
        np.testing.assert_allclose(slope[name], gradient[name], rtol=0, atol=1e-13)


def test_the_trapezoid_takes_the_control_from_inside_each_layer(rng):
    """By hand: tau / 2 (L(f_k, c_k, t_k) + L(f_{k+1}, c_k, t_{k+1})), c_k on both ends of layer k;
    with piecewise linear controls c_k(t) is what the nodes say.
    """
    for in_time in ("layers", "nodes"):
        problem = wd(rng, in_time, terminal=None, target=None)
        cost, c, nodes = problem.running, problem.space.random(rng), MESH.nodes
        flow = integrate(DENSE, c, problem.initial, Euler(), save="layers").trajectory.states
        total = np.zeros(3)
        for k, tau in enumerate(MESH.steps):
            for n in (k, k + 1):
                own = {m: x[k if in_time == "layers" else n] for m, x in c.items()}
                total += 0.5 * tau * cost.density(DENSE, flow[n], own, nodes[n])
        expected = total @ problem.sample_weights
        assert discretize(problem).value(c) == pytest.approx(expected, rel=1e-13)


def test_run_is_what_the_other_methods_say(rng):
    problem = wd(rng, penalty=Tikhonov(0.3))
    objective, c = discretize(problem, Heun(), 2), problem.space.random(rng)
    path = objective.run(c)
    value, gradient = objective.value_and_gradient(c)
    assert path.value == pytest.approx(value, rel=1e-15)
    assert objective.space.norm(path.gradient - gradient) == 0.0
    flow = integrate(DENSE, c, problem.initial, Heun(), save="steps", steps_per_layer=2)
    np.testing.assert_array_equal(path.times, flow.trajectory.times)
    np.testing.assert_allclose(path.states, flow.trajectory.states, rtol=0, atol=1e-15)
    # the derivative of J in the initial state
    move, h = rng.standard_normal((4, 3)), 1e-6
    moved = [
        discretize(replace(problem, initial=problem.initial + s * move), Heun(), 2).value(c)
        for s in (h, -h)
    ]
    mean = np.sum(problem.sample_weights * GRID.weights[:, None] * path.costates[0] * move)
    assert (moved[0] - moved[1]) / (2 * h) == pytest.approx(mean, rel=1e-7)
    np.testing.assert_array_equal(path.remaining[0], path.costates[0])
    quiet = discretize(replace(problem, running=None)).run(c)
    assert quiet.remaining is quiet.costates


class Later(RunningCost):
    """Another cost, from the time `start` on."""

    def __init__(self, cost, start):
        self.cost, self.start = cost, start

    def density(self, network, f, c, t):
        return self.cost.density(network, f, c, t + self.start)

    def vjp(self, network, f, c, t, q):
        return self.cost.vjp(network, f, c, t + self.start, q)

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        return self.cost.vjp_derivative(network, f, c, t + self.start, q, df, dc)

    def formula(self):
        return "later"


def test_a_problem_split_at_the_end_of_a_layer_costs_the_sum(rng):
    """And the costates that remain there are those of the second half at its start."""
    mesh, cost = TimeMesh(1.2, 6), Work("bias", "kernel")
    whole = wd(rng, controls=DENSE.controls(mesh))
    c, k, t = whole.space.random(rng), 2, 0.4
    path = discretize(whole).run(c)
    first = replace(
        whole, controls=DENSE.controls(TimeMesh(t, k)), terminal=None, target=None, readout=State()
    )
    second = replace(
        whole,
        initial=path.states[k],
        controls=DENSE.controls(TimeMesh(1.2 - t, 6 - k)),
        running=Later(cost, t),
    )
    early = first.space.sample(**{n: x[:k] for n, x in c.items()})
    late = second.space.sample(**{n: x[k:] for n, x in c.items()})
    rest = discretize(second).run(late)
    assert discretize(first).value(early) + rest.value == pytest.approx(path.value, rel=1e-13)
    np.testing.assert_allclose(path.remaining[k:][0], rest.remaining[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(path.costates[k + 1 :], rest.costates[1:], rtol=0, atol=1e-13)
    assert float(np.max(np.abs(path.costates[k] - rest.costates[0]))) > 1e-2


def test_the_gradient_of_a_layer_is_that_of_its_hamiltonian(rng):
    """Euler: g_k = (D_c F)* sum_m s_m p_{k+1} + (D_c L(f_k) + D_c L(f_{k+1})) / 2."""
    problem = wd(rng)
    functional, c = problem.functional, problem.space.random(rng)
    path = discretize(problem).run(c)
    for k in range(MESH.layers):
        t, after = float(MESH.nodes[k]), float(MESH.nodes[k + 1])
        own = c.at_layer(k, t)
        p = problem.sample_weights * path.costates[k + 1]
        bars = DENSE.vjp(path.states[k], own, t, p)[1]
        left = functional.running_vjp(path.states[k], own, t)[1]
        right = functional.running_vjp(path.states[k + 1], own, after)[1]
        for name in bars:
            np.testing.assert_allclose(
                bars[name] + 0.5 * (left[name] + right[name]),
                path.gradient[name][k],
                rtol=0,
                atol=1e-13,
            )


def test_samples_that_do_not_count_have_costates_all_the_same(rng):
    problem = wd(rng, sample_weights=np.array([1.0, 0.0, 2.0]))
    c = problem.space.random(rng)
    path = discretize(problem).run(c)
    other = discretize(replace(problem, sample_weights=None).batch([1])).run(c)
    np.testing.assert_allclose(path.costates[..., 1:2], other.costates, rtol=0, atol=1e-14)
    np.testing.assert_allclose(path.remaining[..., 1:2], other.remaining, rtol=0, atol=1e-14)


@pytest.mark.parametrize("stepper", [RK4(), ImplicitMidpoint()], ids=["explicit", "implicit"])
@pytest.mark.parametrize("cost", ["work", "moving target"])
def test_the_continuous_adjoint_converges_to_the_discrete_one(stepper, cost, rng):
    """As fast as the trapezoid rule: with order 2."""
    problem = learning(rng, in_time="nodes", running=costs(["bias", "kernel"])[cost])
    c, counts, gaps = 0.5 * problem.space.random(rng), [4, 8, 16], []
    for n in counts:
        one = continuous_adjoint(problem, c, stepper, n)
        gaps.append(problem.space.norm(one - discretize(problem, stepper, n, "steps").gradient(c)))
    assert observed_orders(np.array(counts, float), np.array(gaps))[-1] == pytest.approx(
        2.0, abs=0.1
    )
    assert gaps[-1] < 2e-3


@pytest.mark.parametrize("in_time", ["layers", "static"])
def test_adaptive_steps(in_time, rng):
    """The rule on layers is the same whatever the steps between."""
    problem = wd(rng, in_time)
    c = problem.space.random(rng)
    adaptive = discretize(problem, DormandPrince(rtol=1e-10, atol=1e-10))
    value, gradient = adaptive.value_and_gradient(c)
    expected, slope = discretize(problem, RK4(), 100).value_and_gradient(c)
    assert value == pytest.approx(expected, rel=1e-8)
    assert problem.space.norm(gradient - slope) < 1e-7 * problem.space.norm(slope)


def test_a_pure_running_problem_reaches_its_minimum():
    """x' = u, L = (x^2 + u^2) / 2: J = tanh(T) x_0^2 / 2; the trapezoid rule has order 2."""

    class Energy(RunningCost):
        def density(self, network, f, c, t):
            return 0.5 * f[0] ** 2 + 0.5 * c["bias"][0] ** 2

        def vjp(self, network, f, c, t, q):
            return q * f, {"bias": np.sum(q) * c["bias"]}

        def vjp_derivative(self, network, f, c, t, q, df, dc):
            return q * df, {"bias": np.sum(q) * dc["bias"]}

        def reads(self, network):
            return ("bias",)

        def formula(self):
            return "1/2 x^2 + 1/2 u^2"

    network, sizes, errors = NeuralODE2(1, identity), [8, 16, 32], []
    for layers in sizes:
        space = network.controls(TimeMesh(1.0, layers), fixed={"weight": 0.0})
        problem = LearningProblem(
            network, np.full((1, 1), 2.0), None, space, terminal=None, running=Energy()
        )
        found = minimize(problem, LBFGS(gtol=1e-8))
        errors.append(abs(found.objective - 2.0 * np.tanh(1.0)))
    assert observed_orders(np.array(sizes, float), np.array(errors))[-1] == pytest.approx(
        2, abs=0.1
    )
    assert str(problem).startswith("minimise  J = int_0^T 1/2 x^2 + 1/2 u^2 dt   (trapezoid")
    assert evaluate(problem, found.control, rtol=1e-6).objective == pytest.approx(
        2.0 * np.tanh(1.0), rel=1e-3
    )


def test_print_writes_what_the_running_cost_is(rng):
    def text(**changes):
        return str(learning(rng, **changes)).splitlines()[:2]

    first = "minimise  J = sum_m s_m 0.5 |sum_j w_j P_j f_j(T) - target|^2"
    rule = "dt   (trapezoid on the 4 ends of layers)"
    assert text(running=Tracking(SquaredError(0.7))) == [
        first,
        f"            + sum_m s_m int_0^T 0.7 |sum_j w_j P_j f_j(t) - target|^2 {rule}",
    ]
    assert text(running=Tracking(SquaredError(0.7), State(), np.zeros((4, 3))))[1] == (
        f"            + sum_m s_m int_0^T 0.7 |f(t) - own target|^2 {rule}"
    )
    assert text(running=Tracking(SquaredError(0.7), target=moving), terminal=None)[0] == (
        f"minimise  J = sum_m s_m int_0^T 0.7 |sum_j w_j P_j f_j(t) - target(t)|^2 {rule}"
    )
    assert text(running=Work("bias"))[1] == (
        f"            + sum_m s_m int_0^T exp(-t)/2 |c|^2 (1 + |f|^2/2) {rule}"
    )
    assert "target(t)_c" in CrossEntropy().formula("o", "target(t)")


@pytest.mark.parametrize("cost", ["work", "tracking", "moving target", "own target"])
def test_batches_slice_the_running_cost_too(cost, rng):
    own = Tracking(SquaredError(0.7), target=rng.standard_normal((2, 3)))
    problem = learning(rng, running={**DENSE_COSTS, "own target": own}[cost])
    objective, c = discretize(problem), problem.space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    parts = [objective.batch(indices) for indices in ([0, 2], [1])]
    shares = [2 / 3, 1 / 3]
    assert sum(s * part.value(c) for s, part in zip(shares, parts, strict=True)) == pytest.approx(
        value, rel=1e-13
    )
    total = sum((s * part.gradient(c) for s, part in zip(shares, parts, strict=True)), 0.0 * c)
    assert problem.space.norm(total - gradient) < 1e-13


def test_moving_labels():
    """Targets in every form a loss takes, at every time."""
    network, mesh = NeuralODE2(2, tanh), TimeMesh(1.0, 4)
    cost = Tracking(CrossEntropy(), Affine(2), lambda t: [0, 1, 1] if t < 0.5 else [1, 0, 1])
    problem = LearningProblem(
        network, np.ones((2, 3)), None, mesh, terminal=None, running=cost, readout=Affine(2)
    )
    assert {b.name for b in problem.space.trained} >= {"readout.W", "readout.mu"}
    control = problem.space.sample(**{"readout.mu": np.array([1.0, -1.0])})
    high, low = np.log1p(np.exp(2.0)), np.log1p(np.exp(-2.0))
    early, late = (low + 2 * high) / 3, (2 * high + low) / 3
    assert early == late
    alone = discretize(problem.batch([0])).value(control)
    assert alone == pytest.approx(0.25 * (0.5 * low + low + high + high + 0.5 * high), rel=1e-13)


def test_one_sample_on_many_states(rng):
    """What a grid of states is asked: the costs of every state, with the data of one sample."""
    for cost in DENSE_COSTS.values():
        problem = learning(rng, running=cost).batch([2])
        functional, c = problem.functional, problem.space.random(rng).at(0.3)
        f = rng.standard_normal((4, 7))
        states = [f[:, m : m + 1] for m in range(7)]
        running = [functional.running_cost(x, c, 0.3) for x in states]
        terminal = [functional.terminal_cost(x, c) for x in states]
        np.testing.assert_allclose(functional.running_costs(f, c, 0.3), running, rtol=1e-13)
        np.testing.assert_allclose(functional.terminal_costs(f, c), terminal, rtol=1e-13)


def test_fixed_readouts_are_known_to_the_functional(rng):
    fixed = {"readout.W": rng.standard_normal((4, 4)), "readout.mu": rng.standard_normal(4)}
    problem = LearningProblem(
        DENSE,
        rng.standard_normal((4, 2)),
        rng.standard_normal((4, 2)),
        MESH,
        readout=Integral(fixed=fixed),
        running=SquaredError(),
    )
    f, w = rng.standard_normal((4, 2)), GRID.weights[:, None]
    output = fixed["readout.W"] @ (w * f) + fixed["readout.mu"][:, None]
    expected = 0.5 * np.sum(w * (output - problem.target) ** 2, axis=0)
    np.testing.assert_allclose(problem.functional.terminal_costs(f), expected, rtol=1e-14)
    np.testing.assert_allclose(problem.functional.running_costs(f, {}, 0.2), expected, rtol=1e-14)


def test_held_blocks_keep_their_time(rng):
    """A block that is held as it is, not constant, is read layer by layer."""
    problem = wd(rng)
    c = problem.space.random(rng)
    rest, part = problem.holding(c, ["kernel"])
    value, gradient = discretize(problem).value_and_gradient(c)
    found, slope = discretize(rest).value_and_gradient(part)
    assert found == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(slope["bias"], gradient["bias"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("cost", ["work", "tracking", "trained readout"])
@pytest.mark.parametrize("in_time", ["layers", "nodes"])
def test_hamiltonians_read_held_blocks_at_their_time(cost, in_time, rng):
    """D_c H on layer k is the gradient's layer k where the kernel is held as it is in a control."""
    problem = learning(rng, running=DENSE_COSTS[cost], penalty=Tikhonov(0.1, ["bias"]))
    controls = DENSE.controls(MESH, in_time=in_time)
    if in_time == "nodes":  # the trained block on layers, the held one on their ends
        blocks = tuple(
            b if b.name == "kernel" else replace(b, time="layers") for b in controls.blocks
        )
        problem = replace(problem, controls=replace(controls, blocks=blocks))
    c = problem.space.random(rng)
    names = [b.name for b in problem.space.trained if b.name != "bias"]
    rest, part = problem.holding(c, names)
    objective = discretize(rest)
    value, gradient = objective.value_and_gradient(part)
    assert value == pytest.approx(discretize(problem).value(c), rel=1e-13)
    hamiltonian = layer_hamiltonian(objective, part)
    found = hamiltonian.gradient(dict(part))["bias"]
    np.testing.assert_allclose(found, gradient["bias"], rtol=0, atol=1e-13)
    functional, final = rest.functional, objective.run(part).states[-1]
    end = functional.terminal_cost(final, functional.terminal_values(part))
    running = MESH.steps @ hamiltonian.running(dict(part))
    assert value == pytest.approx(end + running + rest.penalty.value(part), rel=1e-13)
    best = pontryagin_certificate(rest, part, eigenvalues=0)
    assert best.held == ()


def test_rows_read_held_blocks_at_their_time(rng):
    """One sample, tanh, a penalty: the minimiser over rows, with the kernel held, is stationary."""
    problem = learning(
        rng,
        initial=rng.standard_normal((4, 1)),
        target=rng.standard_normal((2, 1)),
        sample_weights=None,
        penalty=Tikhonov(0.1, ["bias"]),
    )
    rest, part = problem.holding(problem.space.random(rng), ["kernel"])
    hamiltonian = layer_hamiltonian(discretize(rest), part)
    best = hamiltonian.minimiser(dict(part))
    assert best.exact
    assert np.max(np.abs(hamiltonian.gradient(best.values)["bias"])) < 1e-7


def test_shooting_reads_held_blocks_at_their_time(rng):
    """x' = W(t) tanh(x) + b with W held on layers: shooting's J, over every b of time, is a little
    below that of b on layers, and the same as where W is trained no more but b is refined.
    """
    network, mesh = NeuralODE2(2, tanh), TimeMesh(1.0, 3)
    problem = LearningProblem(
        network,
        np.array([[1.0], [-0.5]]),
        np.array([[-0.5], [1.0]]),
        mesh,
        running=Tracking(SquaredError(0.3)),
        penalty=Tikhonov(0.2, ["bias"]),
    )
    rest, _ = problem.holding(problem.space.sample(weight=rng.normal(size=(3, 2, 2))), ["weight"])
    found = shoot(rest)
    assert found.status.ok
    fine = []
    for factor in (8, 16):
        finer, weight = TimeMesh(1.0, 3 * factor), np.repeat(rest.space.fixed["weight"], factor, 0)
        again = replace(problem, controls=finer)
        held, start = again.holding(again.space.sample(weight=weight), ["weight"])
        method = LBFGS(gtol=1e-7)
        fine.append(minimize(discretize(held, RK4(), 2), method, initial=start).objective)
    limit = (4 * fine[1] - fine[0]) / 3
    assert found.objective == pytest.approx(limit, rel=1e-7)


def many_points(cost, rng, count=5):
    """A functional, count points (f, c, t) and directions (df, dc); kernels vary, biases do not."""
    functional = learning(rng, running=cost).functional
    f, df = rng.standard_normal((2, count, 4, 3))
    t = np.linspace(0.0, MESH.horizon, count)
    c, dc = (
        {
            b.name: rng.standard_normal(b.shape if b.name == "bias" else (count, *b.shape))
            for b in functional.space.blocks
        }
        for _ in range(2)
    )
    return functional, f, c, t, df, dc


class Everywhere(StateOnly):
    """The same, at many points at once."""

    broadcasts = True

    def density(self, network, f, c, t):
        return (
            np.cos(np.asarray(t))[..., None]
            * np.sum(network.weights[:, None] * f**3, axis=-2)
            / 3.0
        )

    def vjp(self, network, f, c, t, q):
        return np.cos(np.asarray(t))[..., None, None] * q * f**2, {}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        return 2.0 * np.cos(np.asarray(t))[..., None, None] * q * f * df, {}


def shares(outputs):
    """A target of time whose columns are probabilities."""

    def target(t):
        found = np.abs(np.sin(t + WEIGHTS[:outputs]))
        return found / found.sum(axis=0)

    return target


MANY = {
    **DENSE_COSTS,
    "own, broadcasting": Everywhere(),
    **{
        f"{loss!r} of {type(readout).__name__}": Tracking(loss, readout, shares(n))
        for loss in (
            SquaredError(),
            AbsoluteError(),
            AbsoluteError(groups="sample"),
            Logistic(0.7),
            CrossEntropy(),
        )
        for readout, n in (
            (State(), 4),
            (Projection(np.arange(8.0).reshape(2, 4) / 5), 2),
            (Integral(link=tanh), 4),
            (Affine(3, link=tanh), 3),
            (Softmax(3), 3),
        )
    },
}


@pytest.mark.parametrize("cost", MANY.values(), ids=MANY.keys())
def test_many_points_at_once(cost, rng):
    """Costs and derivatives of many points are those of each on its own."""
    functional, f, c, t, df, dc = many_points(cost, rng)
    assert functional.running.broadcasts == isinstance(cost, Tracking | Everywhere)
    q = rng.standard_normal(3)
    costs = functional.running_costs(f, c, t)
    means = functional.mean(costs)
    derivatives = functional.running_vjp(f, c, t)
    changes = functional.running_vjp_derivative(f, c, t, df, dc, q)
    for n, s in enumerate(t.tolist()):
        here, along = ({b: x if b == "bias" else x[n] for b, x in v.items()} for v in (c, dc))
        alone = functional.running_vjp(f[n], here, s)
        change = functional.running_vjp_derivative(f[n], here, s, df[n], along, q)
        expected = functional.running_costs(f[n], here, s)
        np.testing.assert_allclose(costs[n], expected, rtol=1e-13)
        assert means[n] == pytest.approx(functional.running_cost(f[n], here, s), rel=1e-13)
        for found, wanted in ((derivatives, alone), (changes, change)):
            np.testing.assert_allclose(found[0][n], wanted[0], rtol=1e-13, atol=1e-14)
            assert found[1].keys() == wanted[1].keys()
            for name, bar in wanted[1].items():
                np.testing.assert_allclose(found[1][name][n], bar, rtol=1e-13, atol=1e-14)


def test_check_derivatives_asks_for_many_points():
    class Wrong(Everywhere):
        def vjp(self, network, f, c, t, q):
            found = super().vjp(network, f, c, t, q)[0]
            return (found[::-1] if found.ndim == 3 else found), {}

    for cost in (*DENSE_COSTS.values(), Everywhere()):
        if not isinstance(cost, Tracking) or cost.readout is not None:
            assert check_derivatives(cost, DENSE).ok
    (failure,) = check_derivatives(Wrong(), DENSE).failures
    assert failure.what == "broadcasts"
    assert failure.wrong == "vjp of stacked states is not what it is state by state"


def test_moving_targets_are_evaluated_once_for_a_run(rng):
    asked = []

    def counted(t):
        asked.append(t)
        return moving(t)

    problem = learning(rng, running=Tracking(SquaredError(), target=counted))
    objective, c = discretize(problem), problem.space.random(rng)
    asked.clear()
    value, _ = objective.value_and_gradient(c)
    assert asked == MESH.nodes.tolist()
    assert value == pytest.approx(objective.value(c), rel=1e-14)


@pytest.mark.parametrize("cost", DENSE_COSTS.values(), ids=DENSE_COSTS.keys())
@pytest.mark.parametrize("running_on", ["layers", "steps"])
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_nodes_at_once_or_in_small_stretches(cost, running_on, in_time, rng, monkeypatch):
    """Value, gradient, Hessian and costates do not depend on how many nodes are asked for at once,
    nor on checkpoints.
    """
    problem = learning(rng, in_time=in_time, running=cost)
    objective = discretize(problem, Heun(), 3, running_on)
    c, d = problem.space.random(rng), problem.space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    bend, path = objective.hvp(c, d), objective.run(c)
    assert objective.value(c) == pytest.approx(value, rel=1e-14)
    little = replace(objective, memory=2 * 2 * 8 * 12 * 4)
    assert little.value(c) == pytest.approx(value, rel=1e-13)
    monkeypatch.setattr(discrete_cost, "_CHUNK", 1)
    again = objective.run(c)
    np.testing.assert_allclose(again.remaining, path.remaining, rtol=0, atol=1e-14)
    for found, wanted in (
        (objective.gradient(c), gradient),
        (little.gradient(c), gradient),
        (objective.hvp(c, d), bend),
        (again.gradient, gradient),
    ):
        for name in wanted:
            scale = np.max(np.abs(wanted[name]))
            np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-13 * (1 + scale))


def test_another_array_library(rng):
    strict = array_api_strict.asarray
    problem = learning(rng, in_time="nodes", running=DENSE_COSTS["moving target, own readout"])
    there = replace(problem, initial=strict(problem.initial), target=strict(problem.target))
    c = problem.space.random(rng)
    moved = Control(c.space, {n: strict(x) for n, x in c.items()})
    value, gradient = discretize(problem, Heun()).value_and_gradient(c)
    found, slope = discretize(there, Heun()).value_and_gradient(moved)
    assert found == pytest.approx(value, rel=1e-13)
    for name in gradient:
        np.testing.assert_allclose(to_host(slope[name]), gradient[name], rtol=0, atol=1e-13)
    path, here = discretize(there, Heun()).run(moved), discretize(problem, Heun()).run(c)
    np.testing.assert_allclose(to_host(path.remaining), here.remaining, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"terminal": None}, "terminal and running are both None"),
        ({"target": None}, "target is needed by SquaredError"),
        ({"terminal": 3}, "terminal must be a RunningCost, a Loss such as"),
        ({"running": 3}, "running must be a RunningCost, a Loss such as"),
        (
            {"running": Tracking(SquaredError(), target=np.zeros((3, 3)))},
            r"target has shape \(3, 3\), expected \(2, 3\)",
        ),
        (
            {"running": Tracking(SquaredError(), target=lambda t: np.zeros((3, 3)))},
            r"at t = 0, target has shape \(3, 3\), expected \(2, 3\)",
        ),
        ({"running": Tracking(SquaredError()), "terminal": None, "target": None}, "target is need"),
    ],
)
def test_bad_problems(changes, words, rng):
    with pytest.raises((ValueError, TypeError), match=words):
        learning(rng, **changes)


def test_bad_tracking(rng):
    with pytest.raises(TypeError, match="loss must be a Loss"):
        Tracking(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="readout must be a Readout"):
        Tracking(SquaredError(), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="this Tracking has no readout"):
        Tracking(SquaredError()).density(DENSE, np.ones((4, 1)), {}, 0.0)
    with pytest.raises(ValueError, match="this Tracking has no target"):
        Tracking(SquaredError(), State()).density(DENSE, np.ones((4, 1)), {}, 0.0)
    late = Tracking(SquaredError(), target=lambda t: np.full((2, 3), np.nan if t > 1 else 0.0))
    problem = learning(rng, running=late)
    with pytest.raises(ValueError, match=r"at t = 1\.3, target has entries that are NaN"):
        discretize(problem).value(problem.space.zeros())
    rough = learning(rng, in_time="nodes", penalty=SobolevPenalty(1.0)).functional
    assert not rough.pointwise
    with pytest.raises(TypeError, match="SobolevPenalty has no density"):
        rough.penalty_density({})


def test_the_penalty_of_the_functional(rng):
    bare = learning(rng).functional
    assert bare.pointwise
    assert bare.quadratic == {"bias": 0.0, "kernel": 0.0}
    c = learning(rng).space.random(rng)
    assert bare.penalty_density(c.at(0.1)) == 0.0
    assert bare.penalty_density_gradient(c.at(0.1)) == {}
    problem = learning(rng, penalty=Tikhonov(0.3) + L1(0.2, ["bias"]))
    functional = problem.functional
    assert functional.pointwise
    assert functional.quadratic is None
    density = functional.penalty_density(dict(c.items()))
    assert density.shape == (3,)
    assert MESH.steps @ density == pytest.approx(problem.penalty.value(c), rel=1e-14)
