"""Penalties: their values, gradients by Taylor, proximal maps by optimality and in closed form."""

import array_api_strict
import numpy as np
import pytest

from continuum import (
    L1,
    Control,
    Interval,
    SobolevPenalty,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from continuum.arrays import to_host
from continuum.penalties import Penalty

GRID = gauss_legendre(Interval(0, 2), 4)
NETWORK = WidthDepth(GRID, tanh)
MESH = TimeMesh(2.0, 3)
SPACES = {
    kind: NETWORK.controls(MESH, in_time=kind.split()[0], norm=kind.split()[-1])
    for kind in ("layers L2", "nodes L2", "nodes H1", "static L2")
}
TIKHONOV = Tikhonov(0.3) + Tikhonov(0.7, ["bias"])
CASES = [
    ("layers L2", Tikhonov(0.3, ["kernel"])),
    ("nodes L2", Tikhonov(0.3)),
    ("nodes H1", Tikhonov(0.3)),
    ("static L2", Tikhonov(0.3)),
    ("nodes L2", SobolevPenalty(0.2)),
    ("nodes H1", SobolevPenalty(0.2, ["kernel"])),
    ("nodes L2", SobolevPenalty(0.2, slope=0.3)),
    ("nodes H1", SobolevPenalty(0.2, slope=4.0)),
    ("layers L2", L1(0.3)),
    ("static L2", L1(0.3, ["kernel"])),
    ("layers L2", L1(0.3, groups="rows")),
    ("layers L2", Tikhonov(0.4, ["bias"]) + L1(0.3, ["kernel"])),
    ("layers L2", L1(0.3, groups="joint")),
    ("layers L2", L1(0.3, groups="joint") + Tikhonov(0.4)),
    ("layers L2", L1(0.2, ["kernel"], "joint") + Tikhonov(0.1, ["kernel"]) + Tikhonov(0.3)),
    ("layers L2", L1(0.1) + Tikhonov(0.4, ["bias"]) + Tikhonov(0.1)),
    ("layers L2", L1(0.1, groups="joint") + L1(0.05, ["bias"]) + L1(0.1, groups="rows")),
    ("nodes H1", Tikhonov(0.4) + Tikhonov(0.2, ["bias"])),
]
IDS = [f"{kind} {penalty}" for kind, penalty in CASES]
SMOOTH = [c for c in CASES if c[1].smooth] + [("layers L2", TIKHONOV)]


@pytest.mark.parametrize(("kind", "penalty"), SMOOTH, ids=map(str, SMOOTH))
def test_gradient_and_second_derivative(kind, penalty, rng):
    """R is quadratic: R(x + d) = R(x) + (g, d) + (Hd, d) / 2 with no remainder."""
    space = SPACES[kind]
    for _ in range(3):
        x, d = space.random(rng), space.random(rng)
        gradient, bend = (
            space.zeros().replaced(**part) for part in (penalty.gradient(x), penalty.hvp(x, d))
        )
        taylor = penalty.value(x) + space.inner(gradient, d) + 0.5 * space.inner(bend, d)
        assert penalty.value(x + d) == pytest.approx(taylor, rel=1e-13)
        assert abs(space.inner(gradient, d)) > 1e-2


@pytest.mark.parametrize(("kind", "penalty"), CASES, ids=IDS)
@pytest.mark.parametrize("step", [0.2, 3.0])
def test_prox_is_the_minimiser(kind, penalty, step, rng):
    """|z - x|^2 / 2 + step R(z) is strongly convex: at any other z it is higher by at least |z -
    prox|^2 / 2.
    """
    space = SPACES[kind]
    x = space.random(rng, 0.7)
    p = penalty.prox(x, step)

    def cost(z):
        return 0.5 * space.norm(z - x) ** 2 + step * penalty.value(z)

    lowest = cost(p)
    assert space.norm(p - x) > 1e-2
    for size in (1e-4, 1e-2, 0.3, 2.0):
        for _ in range(20):
            d = space.random(rng, size)
            assert cost(p + d) >= lowest + 0.5 * space.norm(d) ** 2 - 1e-14 * (1 + abs(lowest))
    assert cost(space.zeros()) >= lowest + 0.5 * space.norm(p) ** 2 - 1e-14


def test_prox_in_closed_form(rng):
    space = SPACES["layers L2"]
    x = space.random(rng)
    soft = L1(0.3).prox(x, 2.0)
    for name in x:
        np.testing.assert_allclose(
            soft[name], np.sign(x[name]) * np.maximum(abs(x[name]) - 0.6, 0), rtol=0, atol=1e-15
        )
        assert np.any(soft[name] == 0)
        np.testing.assert_allclose(Tikhonov(0.3).prox(x, 2.0)[name], x[name] / 2.2, rtol=1e-15)
    rows = L1(0.3, ["kernel"], "rows").prox(x, 2.0)
    w = GRID.weights
    size = np.sqrt(np.sum(w * x["kernel"] ** 2, axis=-1) / 2.0)
    share = np.maximum(1 - 0.6 / size, 0)
    np.testing.assert_allclose(rows["kernel"], share[..., None] * x["kernel"], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(rows["bias"], x["bias"])
    strong = L1(3.0, ["kernel"], "rows").prox(x, 2.0)
    assert np.any(np.all(strong["kernel"] == 0, axis=-1))


def test_values_by_hand(rng):
    w, pair = GRID.weights, GRID.weights[:, None] * GRID.weights
    x = SPACES["layers L2"].random(rng)
    tau = 2.0 / 3.0
    entries = tau * (np.sum(w * abs(x["bias"])) + np.sum(pair * abs(x["kernel"])))
    assert L1(0.3).value(x) == pytest.approx(0.3 * entries, rel=1e-13)
    rows = tau * np.sum(w * np.sqrt(2.0 * np.sum(w * x["kernel"] ** 2, axis=-1)))
    # (m_i sum_j W_ij x_ij^2)^(1/2) with W_ij = w_i w_j and m_i = 2 w_i: w_i (2 sum_j w_j
    # x_ij^2)^(1/2)
    assert L1(0.3, ["kernel"], "rows").value(x) == pytest.approx(0.3 * rows, rel=1e-13)
    # bias 2 t - 1 on (0, 2), linear in time: int (2t - 1)^2 + 4 dt = 14/3 + 8, times |Y| = 2; in
    # any norm of the space
    for kind in ("nodes L2", "nodes H1"):
        line = SPACES[kind].sample(bias=lambda y, t: 2 * t - 1 + 0 * y)
        assert SobolevPenalty(0.5).value(line) == pytest.approx(0.5 * 2 * (14 / 3 + 8), rel=1e-13)
        flatter = SobolevPenalty(0.5, slope=0.25)
        assert flatter.value(line) == pytest.approx(0.5 * 2 * (14 / 3 + 2), rel=1e-13)
        assert Tikhonov(0.5).value(line) == pytest.approx(0.5 * 2 * 14 / 3, rel=1e-13)
    still = SPACES["static L2"].sample(bias=3.0)
    assert Tikhonov(0.5).value(still) == pytest.approx(0.5 * 18, rel=1e-14)
    assert L1(0.5).value(still) == pytest.approx(0.5 * 6, rel=1e-14)


POINTWISE = [
    Tikhonov(0.3),
    Tikhonov(0.3, ["kernel"]),
    L1(0.3),
    L1(0.3, groups="rows"),
    Tikhonov(0.4, ["bias"]) + L1(0.3, ["kernel"]),
    L1(0.3, groups="joint"),
    L1(0.3, groups="joint") + L1(0.1) + Tikhonov(0.4),
]


@pytest.mark.parametrize("penalty", POINTWISE, ids=map(str, POINTWISE))
def test_pointwise_penalties_are_integrals_of_their_density(penalty, rng):
    space = SPACES["layers L2"]
    x = space.random(rng)
    assert penalty.pointwise
    density = penalty.density(space, x)
    assert density.shape == (3,)
    assert MESH.steps @ density == pytest.approx(penalty.value(x), rel=1e-14)
    alone = [penalty.density(space, {n: v[k] for n, v in x.items()}) for k in range(3)]
    np.testing.assert_allclose(density, alone, rtol=1e-14)
    # on layers the product of the space is that of the values at each time
    found, whole = penalty.density_prox(space, x, 0.7), penalty.prox(x, 0.7)
    assert found.keys() == whole.keys()
    for name in whole:
        np.testing.assert_allclose(found[name], whole[name], rtol=0, atol=1e-15)
    if penalty.smooth:
        slope, gradient = penalty.density_gradient(space, x), penalty.gradient(x)
        assert slope.keys() == gradient.keys()
        for name in gradient:
            np.testing.assert_allclose(slope[name], gradient[name], rtol=1e-15)
    else:
        with pytest.raises(TypeError, match="no density with a derivative"):
            penalty.density_gradient(space, x)


def test_densities_of_blocks_that_are_smooth_in_time_or_constant(rng):
    nodes, static = SPACES["nodes L2"], SPACES["static L2"]
    x, still = nodes.random(rng), static.random(rng)
    points, shares = np.polynomial.legendre.leggauss(2)
    total = 0.0
    for layer, tau in enumerate(MESH.steps):
        for theta, share in zip(0.5 + 0.5 * points, 0.5 * shares * tau, strict=True):
            values = x.at_layer(layer, MESH.nodes[layer] + theta * tau)
            total += share * float(Tikhonov(0.3).density(nodes, values))
    assert total == pytest.approx(Tikhonov(0.3).value(x), rel=1e-13)
    for penalty in (Tikhonov(0.3), L1(0.3)):
        assert penalty.density(static, still) == 0.0
        assert penalty.density_prox(static, still, 1.0) == dict(still.items())
    assert not SobolevPenalty(0.1).pointwise
    assert not (SobolevPenalty(0.1) + Tikhonov(0.1)).pointwise
    for ask in (
        lambda: SobolevPenalty(0.1).density(nodes, x),
        lambda: SobolevPenalty(0.1).density_prox(nodes, x, 1.0),
        lambda: (SobolevPenalty(0.1) + Tikhonov(0.1)).density(nodes, x),
    ):
        with pytest.raises(TypeError, match="SobolevPenalty has no density"):
            ask()


def test_quadratic_densities_say_so():
    space = SPACES["layers L2"]
    assert TIKHONOV.quadratic(space) == {"bias": 1.0, "kernel": 0.3}
    assert Tikhonov(0.5, ["bias"]).quadratic(space) == {"bias": 0.5, "kernel": 0.0}
    assert (TIKHONOV + L1(0.1)).quadratic(space) is None


def test_sums(rng):
    x = SPACES["layers L2"].random(rng)
    both = Tikhonov(0.4, ["bias"]) + L1(0.3, ["kernel"]) + Tikhonov(0.1, ["kernel"])
    assert len(both.terms) == 3
    assert not both.smooth
    assert TIKHONOV.smooth
    assert both.value(x) == pytest.approx(sum(term.value(x) for term in both.terms), rel=1e-15)
    with pytest.raises(TypeError, match="L1 has no gradient: use a method with proximal steps"):
        both.gradient(x)
    with pytest.raises(TypeError, match="no second derivative"):
        both.hvp(x, x)
    np.testing.assert_allclose(TIKHONOV.gradient(x)["bias"], 2.0 * x["bias"], rtol=1e-15)
    with pytest.raises(TypeError, match="unsupported operand"):
        L1(0.3) + 1  # type: ignore[operator]


def test_formulas():
    layers, nodes, static = (SPACES[kind] for kind in ("layers L2", "nodes H1", "static L2"))
    assert (Tikhonov(0.5) + L1(0.25, ["kernel"])).formula(layers) == (
        "0.5 (int_0^T |bias|^2 dt (piecewise constant) + int_0^T |kernel|^2 dt (piecewise "
        "constant))"
        " + 0.25 (int_0^T |kernel|_1 dt)"
    )
    assert (
        Tikhonov(1, ["bias"]).formula(nodes)
        == "1 (int_0^T |bias|^2 dt (piecewise linear, exactly))"
    )
    assert SobolevPenalty(2, ["bias"]).formula(nodes) == "2 (int_0^T |bias|^2 + |bias'|^2 dt)"
    sharp = SobolevPenalty(2, ["bias"], slope=0.5)
    assert sharp.formula(nodes) == "2 (int_0^T |bias|^2 + 0.5 |bias'|^2 dt)"
    assert L1(2, groups="joint").formula(layers) == "2 int_0^T |(bias, kernel)(t)| dt"
    assert L1(2, groups="rows").formula(static) == "2 (|bias|_1 + sum of |rows of kernel|)"


def test_another_array_library(rng):
    for kind, penalty in CASES:
        x = SPACES[kind].random(rng)
        strict = Control(
            x.space, {n: array_api_strict.asarray(v) for n, v in x.items()}, trusted=True
        )
        assert penalty.value(strict) == pytest.approx(penalty.value(x), rel=1e-13)
        got, want = penalty.prox(strict, 0.7), penalty.prox(x, 0.7)
        for name in want:
            np.testing.assert_allclose(to_host(got[name]), want[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: L1(-0.1), "strength must be finite and >= 0"),
        (lambda: SobolevPenalty(np.inf), "strength must be finite and >= 0"),
        (lambda: SobolevPenalty(0.1, slope=-1.0), "slope must be finite and >= 0"),
        (lambda: SobolevPenalty(0.1, slope="steep"), "slope must be a real number"),
        (lambda: Tikhonov(0.1, 2.0), "blocks must be a sequence of names"),
        (lambda: L1("much"), "strength must be a real number"),
        (lambda: L1(0.1, "kernel"), "blocks must be a sequence of names"),
        (lambda: L1(0.1, groups="columns"), "unknown groups 'columns'"),
        (lambda: L1(0.1, ["kernal"]).formula(SPACES["layers L2"]), "Did you mean 'kernel'"),
        (
            lambda: L1(0.1, groups="joint").formula(SPACES["static L2"]),
            r"L1\(groups='joint'\) needs a trained block that depends on time",
        ),
        (
            lambda: L1(0.1, ["bias"], groups="joint").formula(SPACES["static L2"]),
            "needs 'bias' with in_time='layers'",
        ),
        (
            lambda: (L1(0.1, groups="joint") + Tikhonov(0.1, ["bias"])).prox(
                SPACES["layers L2"].zeros(), 1.0
            ),
            "no proximal map is known for L1.* and Tikhonov.* together, which share bias, kernel",
        ),
        (
            lambda: (SobolevPenalty(0.1) + Tikhonov(0.1)).prox(SPACES["nodes L2"].zeros(), 1.0),
            "no proximal map is known for SobolevPenalty",
        ),
        (lambda: L1(0.1).formula(SPACES["nodes L2"]), "L1 needs 'bias' with in_time='layers'"),
        (
            lambda: SobolevPenalty(0.1).formula(SPACES["layers L2"]),
            "needs blocks that are piecewise linear.*none is",
        ),
        (lambda: SobolevPenalty(0.1, ["bias"]).formula(SPACES["layers L2"]), "which bias is not"),
        (
            lambda: Tikhonov(0.1, ["bias"]).value(
                NETWORK.controls(MESH, fixed={"bias": 1.0}).zeros()
            ),
            "unknown block",
        ),
        (lambda: Penalty(), "abstract"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
