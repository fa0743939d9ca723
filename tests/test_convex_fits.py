"""Fits by convex residual networks: the problem, its first-order conditions, what it can reach."""

import numpy as np
import pytest

from continuum import ConvexDifference, ConvexNetwork, Tikhonov
from solvers import GradientDescent, discretize, minimize
from solvers.convex_fits import (
    Decomposition,
    HessianBounds,
    convex_hypotheses,
    convex_problem,
    convex_start,
    decomposition,
    factor_floor,
    flow_factors,
    kkt_residual,
    linear_flow,
    nearest_representable,
    sampled_bounds,
    spectral_margin_bound,
    straight_path,
    straight_seminorms,
    supermodular_floor,
)


def forward(x, c, prefix):
    """h_0, ..., h_L and what each unit puts out, by (7)."""
    h, states, outputs = x, [x], []
    for v, b, w in zip(
        c[f"{prefix}weight1"], c[f"{prefix}bias1"], c[f"{prefix}weight2"], strict=True
    ):
        outputs.append(np.maximum(v @ h + b[:, None], 0.0))
        h = h + w @ outputs[-1]
        states.append(h)
    return states, outputs


def test_the_problem_is_the_mean_of_squares_of_a_difference(rng):
    x, y = rng.uniform(size=(3, 7)), rng.uniform(size=(2, 7))
    problem = convex_problem(x, y, 4, hidden=2)
    c = convex_start(problem, rng, (0.0, 0.4), weights=(0.0, 1.0))
    assert problem.admissible.contains(c)
    outputs = np.zeros((2, 7))
    for p in (0, 1):
        for q, (name, sign) in enumerate((("r", 1.0), ("s", -1.0))):
            h = forward(x, c, f"{name}{p}.")[0][-1]
            read = c["readout.W"][p, 6 * p + 3 * q : 6 * p + 3 * (q + 1)]
            outputs[p] += sign * read @ h
    value = 0.5 * np.sum(np.mean((outputs - y) ** 2, axis=1))
    assert discretize(problem).value(c) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("identity_inputs", [True, False])
@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("difference", [True, False])
@pytest.mark.parametrize("outputs", [1, 2])
def test_every_form_is_trained(outputs, difference, offset, identity_inputs):
    """Sums of parts and one network alone, offsets and inputs trained or held."""
    x = np.linspace(0.0, 1.0, 9)
    problem = convex_problem(
        x,
        np.stack([x**2, x])[:outputs],
        2,
        difference=difference,
        offset=offset,
        identity_inputs=identity_inputs,
    )
    start = convex_start(problem)
    found = minimize(
        problem, GradientDescent(max_iterations=3), initial=start, raise_on_failure=False
    )
    assert found.objective < 0.9 * discretize(problem).value(start)
    assert problem.admissible.contains(found.control)
    again = problem.network.controls(problem.mesh)  # of the parts, wherever the readout comes from
    own = [b for b in problem.space.blocks if not b.name.startswith("readout.")]
    assert [b.name for b in again.blocks] == [b.name for b in own]


def test_starts_draw_biases_first_and_numbers_draw_nothing(rng):
    x = np.linspace(0, 1, 5)
    problem = convex_problem(x, x, 10, offset=False, identity_inputs=True)
    start = convex_start(problem, np.random.default_rng(3), (0, 0.5), weights=0.05, readout=1.0)
    again = np.random.default_rng(3)
    for name in ("r", "s"):
        np.testing.assert_array_equal(-start[f"{name}.bias1"][:, 0], again.uniform(0, 0.5, 10))
        assert np.all(start[f"{name}.weight2"] == 0.05)
    assert set(start) == {"r.bias1", "r.weight2", "s.bias1", "s.weight2", "readout.W"}
    default = convex_start(convex_problem(rng.uniform(size=(4, 3)), x[:3], 2, hidden=5), rng)
    assert 0.3 < default["s.weight1"].max() < 0.5
    assert 0.01 < default["s.weight2"].max() < 0.02
    assert default["readout.W"].min() >= 1e-3


def test_bad_data_and_starts_are_refused_by_name(rng):
    x, y = rng.uniform(size=(2, 5)), rng.uniform(size=5)
    with pytest.raises(ValueError, match=r"x must be >= 0.*\[0, M\]\^n, got -"):
        convex_problem(x - 1.0, y, 3)
    with pytest.raises(ValueError, match="layers must be at least 1"):
        convex_problem(x, y, 0)
    with pytest.raises(ValueError, match="least must be finite and positive"):
        convex_problem(x, y, 2, least=0.0)
    with pytest.raises(ValueError, match="y has shape"):
        convex_problem(x, y[:4], 2)
    with pytest.raises(ValueError, match="hidden must be 2"):
        convex_problem(x, y, 2, identity_inputs=True)
    problem = convex_problem(x, y, 2)
    with pytest.raises(ValueError, match="biases must be a number or a pair"):
        convex_start(problem, rng, (-0.1, 1.0))
    with pytest.raises(ValueError, match=r"readout must be .* at least 0.001"):
        convex_start(problem, rng, readout=0.0)


def test_gradients_are_those_of_12_and_of_the_biases(rng):
    """(12a), (12b) and the formula for b, for V = I; over N, as the cost is a mean."""
    x, y = rng.uniform(size=(3, 20)), rng.uniform(size=20)
    problem = convex_problem(x, y, 4, hidden=3, difference=False, identity_inputs=True)
    c = convex_start(problem, rng, (0.0, 0.6), weights=(0.0, 0.5))
    read = c["readout.W"][0]
    named = {"weight1": np.tile(np.eye(3), (4, 1, 1)), **c}
    states, outputs = forward(x, named, "")
    e = (read @ states[-1] + c["readout.mu"] - y) / 20
    _, gradient = discretize(problem).value_and_gradient(c)
    slope = np.tile(read[:, None], (1, 20))
    for k in (3, 2, 1, 0):
        np.testing.assert_allclose(gradient["weight2"][k], (slope * e) @ outputs[k].T, atol=1e-14)
        acting = states[k] + c["bias1"][k][:, None] > 0
        on_b = -np.sum(acting * (c["weight2"][k].T @ slope) * e, axis=1)
        np.testing.assert_allclose(-gradient["bias1"][k], on_b, atol=1e-14)
        slope = slope + acting * (c["weight2"][k].T @ slope)
    np.testing.assert_allclose(gradient["readout.W"][0], states[-1] @ e, atol=1e-14)


def test_first_order_conditions_with_active_weights(rng):
    """The best line is stationary for a concave function, with W = 0 on its bound and (12a) not
    met; for a convex one its multipliers have the wrong sign."""
    x = np.linspace(0, 1, 11)
    for bend, wrong in ((-1.0, False), (1.0, True)):
        y = 3 * x + bend * x**2
        line = np.polyfit(x, y, 1)
        problem = convex_problem(x, y, 2, difference=False, identity_inputs=True)
        control = problem.space.sample(
            bias1=np.array([[-0.25], [-0.55]]),
            **{"readout.W": line[:1, None], "readout.mu": line[1:]},
        )
        found = kkt_residual(problem, control)
        _, gradient = discretize(problem).value_and_gradient(control)
        sizes = np.abs(gradient["weight2"][:, 0, 0])
        assert sizes.min() > 1e-3
        assert found.active["weight2"].all()
        assert not found.active["readout.W"].any()
        assert max(found.free.values()) < 1e-15
        assert found.outside <= 0
        if wrong:
            assert found.wrong_sign["weight2"] == pytest.approx(sizes.max(), rel=1e-14)
            assert found.residual == pytest.approx(np.linalg.norm(sizes), rel=1e-12)
        else:
            assert found.wrong_sign["weight2"] == 0
            assert found.residual < 1e-15
        assert "2 of 2 entries on a bound" in str(found)


@pytest.mark.parametrize("bend", [-1.0, 1.0])
def test_biases_on_their_bound(bend):
    """b = 0 with x >= 0: the unit acts everywhere, and b enters as an offset of -w b alone."""
    x = np.linspace(0.5, 1.0, 6)
    problem = convex_problem(
        x, 2 * x + 0.1 * bend, 1, difference=False, offset=False, identity_inputs=True
    )
    blocks = {
        "bias1": np.zeros((1, 1)),
        "weight2": np.ones((1, 1, 1)),
        "readout.W": np.ones((1, 1)),
    }
    found = kkt_residual(problem, problem.space.sample(**blocks))
    # f = 2 x, so dJ / d(-b) = mean(f - y) = -bend / 10; leaving the bound makes f smaller
    assert found.active["bias1"].all()
    assert found.free["bias1"] == 0.0
    assert found.wrong_sign["bias1"] == pytest.approx(max(-0.1 * bend, 0.0), rel=1e-12)
    assert found.outside == 0.0


def test_residual_is_that_of_the_projected_step(rng):
    problem = convex_problem(rng.uniform(size=(2, 9)), rng.uniform(size=9), 3, hidden=2)
    control = convex_start(problem, rng, weights=(0.0, 0.5))
    _, gradient = discretize(problem).value_and_gradient(control)
    step = problem.space.norm(control - problem.admissible.project(control - gradient))
    assert kkt_residual(problem, control).residual == pytest.approx(step, rel=1e-12)
    outside = control.replaced(**{"s.weight2": control["s.weight2"] - 1.0})
    assert kkt_residual(problem, outside).outside > 0
    other = convex_problem(rng.uniform(size=(2, 9)), rng.uniform(size=9), 4, hidden=2)
    with pytest.raises(ValueError, match="control lives in another space"):
        kkt_residual(other, control)
    penalised = type(problem)(
        problem.network,
        problem.initial,
        problem.target,
        problem.space,
        readout=problem.readout,
        penalty=Tikhonov(1.0),
    )
    with pytest.raises(TypeError, match="penalty"):
        kkt_residual(penalised, control)


def saddle(x):
    """(x - y)^2 + 3 (x + y)."""
    return (x[0] - x[1]) ** 2 + 3 * (x[0] + x[1])


def on_grid(f, size, units=2):
    x = np.stack(np.meshgrid(*[np.linspace(0, 1, size)] * units, indexing="ij"))
    return f(x.reshape(units, -1)).reshape(x.shape[1:])


def brute_force_floor(values):
    """The worst of all rectangles, by four loops, over 4."""
    rows, columns = range(len(values)), range(len(values[0]))
    return max(
        (values[a, d] + values[b, c] - values[a, c] - values[b, d]) / 4
        for a in rows
        for b in rows
        if a < b
        for c in columns
        for d in columns
        if c < d
    )


def test_supermodular_floors(rng):
    assert supermodular_floor(on_grid(saddle, 5)) == pytest.approx(0.5, rel=1e-14)
    values = rng.uniform(size=(5, 6))
    assert supermodular_floor(values) == pytest.approx(brute_force_floor(values), rel=1e-14)
    three = rng.uniform(size=(4, 5, 3))
    slices = [three[:, :, k] for k in range(3)] + [three[:, k] for k in range(5)] + list(three)
    assert supermodular_floor(three) == pytest.approx(max(map(brute_force_floor, slices)))
    network = ConvexNetwork(
        rng.uniform(size=(3, 4, 2)), -rng.uniform(size=(3, 4)), rng.uniform(size=(3, 2, 4)), [1, 2]
    )
    assert supermodular_floor(on_grid(network.value, 9)) < 1e-13
    with pytest.raises(ValueError, match="at least 2 axes"):
        supermodular_floor(np.ones(5))


def test_nearest_values_that_a_network_may_have(rng):
    least, g = nearest_representable(on_grid(saddle, 9))
    assert least == pytest.approx(0.5, abs=1e-9)
    assert np.abs(g - on_grid(saddle, 9)).max() == pytest.approx(least, abs=1e-9)
    assert supermodular_floor(g) < 1e-9
    # on one axis: a nondecreasing convex function is 1/16 from x^2/2 - x/2, which falls by 1/8
    x = np.linspace(0, 1, 41)
    assert nearest_representable(x**2 / 2 - x / 2)[0] == pytest.approx(1 / 16, abs=1e-9)
    # and half the height of a concave arc from its chord
    assert nearest_representable(2 * x - x**2)[0] == pytest.approx(1 / 8, abs=1e-9)
    assert nearest_representable(on_grid(lambda x: x[0] + x[1] * x[2], 4, 3))[0] < 1e-9
    values = on_grid(lambda x: -x[1] * x[2], 3, 3)
    least, _ = nearest_representable(values)
    assert least >= supermodular_floor(values) - 1e-9 > 0.2
    with pytest.raises(ValueError, match="at most 20000"):
        nearest_representable(np.ones((200, 101)))


def test_the_split_is_supermodular_where_that_of_the_paper_is_not(rng):
    hessian = np.array([[2.0, -2.0], [-2.0, 2.0]])
    bounds = HessianBounds(0.0, -2.0)
    split = decomposition(saddle, [3.0, 3.0], bounds, margin=0.1)
    assert (split.alpha, split.mixed, split.beta.tolist()) == (0.1, 2.0, [0.1, 0.1])
    x = rng.uniform(size=(2, 50))
    np.testing.assert_allclose(split.r(x) - split.s(x), saddle(x), atol=1e-14)
    for part in (split.r, split.s):
        assert nearest_representable(on_grid(part, 7))[0] < 1e-9
    assert np.linalg.eigvalsh(hessian + split.alpha * np.eye(2) + split.mixed)[0] >= 0.1 - 1e-15
    # alpha' = 0: r has the floor of f
    papers = Decomposition(saddle, 0.1, 0.0, np.full(2, 0.1), bounds)
    assert supermodular_floor(on_grid(papers.r, 7)) == pytest.approx(0.5, rel=1e-12)
    bent = decomposition(saddle, [3.0, -3.0], HessianBounds(1.0, 0.5), margin=0.1)
    assert (bent.alpha, bent.mixed, bent.beta.tolist()) == (0.1, 0.0, [0.1, 3.1])
    with pytest.raises(ValueError, match="supermodularity is not shown: mixed must be at least 2"):
        decomposition(saddle, [3.0, 3.0], bounds, mixed=0.0)
    with pytest.raises(ValueError, match="convexity is not shown: alpha must be above 1"):
        decomposition(saddle, [3.0, 3.0], HessianBounds(-1.0, 0.0), alpha=1.0)


def test_beta_above_0_is_not_enough():
    def falling(x):
        return -x[0]

    x = np.linspace(0, 1, 41)[None]
    bounds = HessianBounds(0.0, np.inf)
    with pytest.raises(ValueError, match=r"beta\[0\] must be above 1, d_0 f\(0\) is -1, got 0.5"):
        decomposition(falling, [-1.0], bounds, beta=[0.5])
    papers = Decomposition(falling, 1.0, 0.0, np.array([0.5]), bounds)
    assert nearest_representable(papers.r(x))[0] == pytest.approx(1 / 16, abs=1e-9)
    assert nearest_representable(decomposition(falling, [-1.0], bounds).r(x))[0] < 1e-9


def test_hypotheses_that_fail_are_named():
    found = convex_hypotheses([3.0, 3.0], HessianBounds(0.0, -2.0))
    assert [h.verdict for h in found] == ["no", "no", "yes"]
    assert "supermodular" in found[1].name
    quartic = sampled_bounds(3 * np.linspace(0, 1, 5)[:, None, None] ** 2)
    assert quartic == HessianBounds(0.0, np.inf, sampled=True)
    assert [h.verdict for h in convex_hypotheses([0.0], quartic)] == ["no", "undecided", "no"]
    good = sampled_bounds(np.array([[[2.0, 0.5], [0.5, 2.0]], [[2.0, 1.0], [1.0, 2.0]]]))
    assert good == HessianBounds(1.0, 0.5, sampled=True)
    assert [h.verdict for h in convex_hypotheses([1, 1], good)] == ["undecided"] * 2 + ["yes"]
    assert "sampled" in convex_hypotheses([1, 1], good)[0].phrase
    line = HessianBounds(1.0, np.inf)
    for refused in (
        lambda: convex_hypotheses([1.0, 1.0], line),
        lambda: decomposition(saddle, [1.0, 1.0], line),
    ):
        with pytest.raises(ValueError, match=r"bounds\.mixed must be a number for n = 2"):
            refused()
    with pytest.raises(ValueError, match="symmetric"):
        sampled_bounds(np.array([[[1.0, 2.0], [0.0, 1.0]]]))


def test_spectral_margins(rng):
    def pair(scale):
        parts = [
            ConvexNetwork(
                scale * rng.uniform(size=(2, 3, 2)),
                -rng.uniform(size=(2, 3)),
                scale * rng.uniform(size=(2, 2, 3)),
                rng.uniform(0.1, 1, 2),
                offset,
            )
            for offset in (0.5, 0.0)
        ]
        return ConvexDifference(*parts)

    scores, x = [pair(0.5) for _ in range(3)], rng.uniform(size=(2, 40))
    labels = np.argmax([f.value(x) for f in scores], axis=0)
    found = spectral_margin_bound(scores, x, labels, 0.05)
    # the chain of matrices written out, by the letter of the theorem
    z, chain, still = np.vstack([np.tile(x, (6, 1)), np.ones(40)]), [], []
    parts = [part for f in scores for part in (f.r, f.s)]
    for k in range(2):
        down, up = np.zeros((18, 13)), np.zeros((12, 18))
        for q, part in enumerate(parts):
            down[3 * q : 3 * q + 3, 2 * q : 2 * q + 2] = part.weight1[k]
            down[3 * q : 3 * q + 3, 12] = part.bias1[k]
            up[2 * q : 2 * q + 2, 3 * q : 3 * q + 3] = part.weight2[k]
        first = np.vstack([np.eye(13), down])
        second = np.hstack([np.eye(13), np.vstack([up, np.zeros((1, 18))])])
        chain += [first, second]
        still += [np.eye(31, 13), np.eye(13, 31)]
        u = first @ z
        z = second @ np.vstack([u[:13], np.maximum(u[13:], 0)])
    last = np.zeros((3, 13))
    for p, f in enumerate(scores):
        last[p, 4 * p : 4 * p + 4] = [*f.r.readout, *-f.s.readout]
        last[p, 12] = f.r.offset - f.s.offset
    np.testing.assert_allclose(last @ z, [f.value(x) for f in scores], rtol=1e-12)
    chain, still = [*chain, last], [*still, 0 * last]
    norms = np.array([np.linalg.norm(m, 2) for m in chain])
    apart = [np.linalg.norm(m - ref, axis=1).sum() for m, ref in zip(chain, still, strict=True)]
    complexity = norms.prod() * np.sum((apart / norms) ** (2 / 3)) ** 1.5
    assert found.complexity == pytest.approx(complexity, rel=1e-12)
    assert found.data_norm == pytest.approx(np.sqrt(6 * np.sum(x**2) + 40), rel=1e-14)
    assert found.width == 31
    assert found.term == pytest.approx(complexity * found.data_norm * np.log(31) / (0.05 * 40))
    scored = np.sort([f.value(x) for f in scores], axis=0)
    assert found.violated == np.mean(scored[-1] - scored[-2] < 0.05) > 0
    assert np.prod(found.spectral_norms) > max(f.lipschitz for f in scores)
    # with biases that are part of the maps, the last column of A is 0
    for k in (0, 2):
        chain[k][13:, 12] = 0.0
    norms = np.array([np.linalg.norm(m, 2) for m in chain])
    apart = [np.linalg.norm(m - ref, axis=1).sum() for m, ref in zip(chain, still, strict=True)]
    frozen = spectral_margin_bound(scores, x, labels, 0.05, frozen_biases=True)
    np.testing.assert_allclose(frozen.spectral_norms, norms, rtol=1e-12)
    np.testing.assert_allclose(frozen.distances, apart, rtol=1e-12)
    assert frozen.complexity < 0.5 * found.complexity
    # no network is at a distance from itself
    own = spectral_margin_bound(scores, x, labels, 0.05, reference=scores)
    assert own.complexity == 0
    with pytest.raises(ValueError, match="labels must be 0"):
        spectral_margin_bound(scores, x, labels + 3, 0.05)
    with pytest.raises(TypeError, match=r"scores\[1\] must be"):
        spectral_margin_bound([scores[0], 1.0], x, labels, 0.05)
    with pytest.raises(ValueError, match="at least 2 classes"):
        spectral_margin_bound(scores[:1], x, 0 * labels, 0.05)
    with pytest.raises(ValueError, match="same shapes"):
        spectral_margin_bound(scores, x, labels, 0.05, reference=scores[:2])


def seminorm(h, low, high, points=4001):
    """The largest slope of h - Id between neighbours of a grid: a lower bound."""
    y = np.linspace(low, high, points)
    return np.abs(np.diff(h(y) - y) / np.diff(y)).max()


@pytest.mark.parametrize("layers", [1, 4, 16])
def test_factors_of_e_x_are_a_root_of_e(layers, rng):
    factors = flow_factors(linear_flow(1.0), layers)
    x = rng.uniform(size=(1, 9))
    y = x
    for h in factors:
        assert seminorm(lambda z, h=h: h(z[None])[0], 0, 1, 3) == pytest.approx(
            np.expm1(1 / layers), rel=1e-12
        )
        y = h(y)
    np.testing.assert_allclose(y, np.e * x, rtol=1e-14)
    assert factor_floor(np.e, np.e, layers) == pytest.approx(np.expm1(1 / layers), rel=1e-14)


@pytest.mark.parametrize("layers", [1, 3, 8])
def test_straight_factors_compose_and_are_as_near_as_derived(layers, rng):
    """h = f' for f = x^2/4 + x^4/4 on [0, 1]: h' from 1/2 to 7/2."""

    def h(x):
        return 0.5 * x + x**3

    path = straight_path(h, 0.0, 1.0)
    factors = flow_factors(path, layers)
    x = y = rng.uniform(size=20)
    bounds = straight_seminorms(0.5, 3.5, layers)
    for i, one in enumerate(factors):
        top = path.forward(i / layers, np.ones(1))[0]
        found = seminorm(one, 0.0, top)
        assert 0.99 * bounds[i] < found <= bounds[i] * (1 + 1e-9)
        y = one(y)
    np.testing.assert_allclose(y, h(x), atol=1e-14)
    assert bounds.max() <= max(3.5 - 1, 1 / 0.5 - 1) / layers + 1e-15
    assert bounds.max() >= factor_floor(0.5, 3.5, layers)


def test_straight_factors_of_a_gradient_in_the_plane(rng):
    """f = x^T A x / 2 + sum x_j^4 / 12 on [0, 1]^2, by secants between random points."""
    a = np.array([[2.0, 0.7], [0.7, 1.0]])
    least, most = np.linalg.eigvalsh(a)[0], np.linalg.eigvalsh(a + np.eye(2))[1]
    x = rng.uniform(size=(2, 400))
    change = a @ x + x**3 / 3 - x
    for i, bound in enumerate(straight_seminorms(least, most, 5)):
        at = x + i / 5 * change
        moved = np.linalg.norm(np.diff(change, axis=1), axis=0) / 5
        assert (moved / np.linalg.norm(np.diff(at, axis=1), axis=0)).max() <= bound


def test_maps_that_have_no_factors_near_the_identity():
    """x^4 / 4: h = x^3 has h'(0) = 0, and one factor is 1 from the identity for every L."""
    assert factor_floor(0.0, 3.0, 1000) == 1.0
    assert factor_floor(1 / 16, 1.2, 4) == 0.5
    assert factor_floor(1.0, 1.0, 4) == 0.0
    last = flow_factors(straight_path(lambda x: x**3, 0.0, 1.0), 20)[-1]
    assert seminorm(last, 0.0, 1e-6) == pytest.approx(1.0, abs=1e-9)
    with pytest.raises(ValueError, match="least must be finite and positive"):
        straight_seminorms(0.0, 3.0, 5)
    with pytest.raises(ValueError, match="h must increase"):
        straight_path(lambda x: -x, 0.0, 1.0)
    with pytest.raises(ValueError, match="the image of g_t"):
        straight_path(lambda x: 2 * x, 0.0, 1.0).backward(0.5, np.array([2.0]))
    with pytest.raises(ValueError, match="the image of g_t"):
        straight_path(lambda x: 2 * x, 0.0, 1.0).backward(0.5, np.array([np.nan]))
    with pytest.raises(ValueError, match="layers must be at least 1"):
        flow_factors(linear_flow(1.0), 0)
