"""Random chains: derivatives, adjoints, stacked evaluation and rows follow from the maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuum import (
    Adjoint,
    Bottleneck,
    Chain,
    Convolution,
    Dense,
    Inputs,
    Interval,
    LearningProblem,
    Linear,
    LowRank,
    NeuralODE,
    NeuralODE2,
    Offset,
    Pointwise,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    identity,
    sigmoid,
    softplus,
    tanh,
    trapezoid,
)
from solvers import Euler, integrate

GRID = trapezoid(Interval(0, 2), 4)
SAMPLES = 3
drawn = settings(max_examples=60, derandomize=True, deadline=None, database=None)
activations = st.sampled_from([tanh, sigmoid, softplus, identity])
signs = st.sampled_from([1, -1])


@st.composite
def between(draw, number):
    """Some of an offset and an activation, in this order or the other."""
    maps = [Offset(f"a{number}")] * draw(st.booleans())
    maps += [Pointwise(draw(activations))] * draw(st.booleans())
    return maps if draw(st.booleans()) else maps[::-1]


@st.composite
def grid_chains(draw):
    """One to three operators on a grid: kernels of three formats, adjoints, blocks used twice, a
    way through R^h and back by the adjoint.
    """
    maps = draw(between(0))
    known: list[Linear] = []
    for n in range(1, draw(st.integers(1, 3)) + 1):
        kinds = ["kernel", "hidden"] + ["adjoint", "again"] * bool(known)
        kind = draw(st.sampled_from(kinds))
        if kind == "kernel":
            form = draw(st.sampled_from([Dense(), LowRank(2), Convolution()]))
            known.append(Linear(f"b{n}", form, draw(signs)))
            maps += [known[-1]]
        elif kind == "again":
            maps += [Linear(known[0].block, known[0].into, draw(signs))]
        elif kind == "adjoint":
            maps += [Adjoint(known[-1].block, draw(signs))]
        else:
            maps += [Linear(f"h{n}", 2, draw(signs)), Offset(f"c{n}"), Pointwise(draw(activations))]
            maps += [Adjoint(f"h{n}", draw(signs))]
        maps += draw(between(n))
    return Chain(GRID, tuple(maps))


@st.composite
def euclidean_chains(draw):
    """One to three matrices in R^d, with t and data as inputs or without, the last one tied or
    not.
    """
    units = draw(st.integers(1, 3))
    time, given_data = draw(st.booleans()), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    data = rng.standard_normal((2, SAMPLES)) if given_data else None
    maps = [Inputs(time, data)] if time or given_data else []
    maps += draw(between(0))
    inner = draw(st.lists(st.integers(1, 4), max_size=2))
    for n, width in enumerate(inner, 1):
        maps += [Linear(f"w{n}", width, draw(signs)), *draw(between(n))]
    if inner and not time and not given_data and draw(st.booleans()):
        maps += [Adjoint(f"w{n}", draw(signs)) for n in range(len(inner), 0, -1)]
    else:
        maps += [Linear("last", units, draw(signs)), *draw(between(9))]
    return Chain(units, tuple(maps))


chains = st.one_of(grid_chains(), euclidean_chains())
seeds = st.integers(0, 2**32 - 1)


def point(chain, rng):
    """A state or costate, and values for all blocks."""
    return rng.standard_normal((chain.units, SAMPLES)), {
        b.name: rng.standard_normal(b.shape) for b in chain.blocks()
    }


def along(x, dx, s):
    return {n: x[n] + s * dx[n] for n in x} if isinstance(x, dict) else x + s * dx


def close(found, wanted, rtol):
    scale = max(1.0, float(np.max(np.abs(wanted))))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * scale)


def central(function, h=1e-4):
    """The derivative at 0 to fourth order."""
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


@drawn
@given(chains, seeds)
def test_jvp_is_the_derivative_and_vjp_its_adjoint(chain, seed):
    rng = np.random.default_rng(seed)
    (f, c), (df, dc), (p, _) = (point(chain, rng) for _ in range(3))
    jvp = chain.jvp(f, c, 0.7, df, dc)
    close(jvp, central(lambda s: chain.velocity(along(f, df, s), along(c, dc, s), 0.7)), rtol=1e-8)
    w, (back, cotangents) = chain.weights[:, None], chain.vjp(f, c, 0.7, p)
    pulled = np.sum(w * back * df)
    for block in chain.blocks():
        pulled += np.sum(block.weights * cotangents[block.name] * dc[block.name])
    close(pulled, np.sum(w * jvp * p), rtol=1e-11)


@drawn
@given(chains, seeds)
def test_vjp_derivative_is_the_derivative_of_vjp(chain, seed):
    rng = np.random.default_rng(seed)
    (f, c), (df, dc), (p, _), (dp, _) = (point(chain, rng) for _ in range(4))
    left_out = chain.blocks()[0].name if seed % 2 else None
    moved = {n: x for n, x in dc.items() if n != left_out}
    direction = {n: x if n != left_out else 0.0 * x for n, x in dc.items()}

    def vjp(s):
        return chain.vjp(along(f, df, s), along(c, direction, s), 0.7, along(p, dp, s))

    back, cotangents = chain.vjp_derivative(f, c, 0.7, p, df, moved, dp)
    close(back, central(lambda s: vjp(s)[0]), rtol=1e-8)
    for name, found in cotangents.items():
        close(found, central(lambda s: vjp(s)[1][name]), rtol=1e-8)  # noqa: B023
    assert set(cotangents) == {b.name for b in chain.blocks()}


@drawn
@given(chains, seeds)
def test_stacked_evaluation_is_evaluation_point_by_point(chain, seed):
    if not chain.broadcasts:
        return
    rng = np.random.default_rng(seed)
    points = [[point(chain, rng) for _ in range(2)] for _ in range(4)]
    (f, c), (df, dc), (p, _), (dp, _) = (
        (np.stack([x for x, _ in pair]), {n: np.stack([c[n] for _, c in pair]) for n in pair[0][1]})
        for pair in points
    )
    stacked = (
        chain.velocity(f, c, 0.0),
        *chain.vjp(f, c, 0.0, p),
        *chain.vjp_derivative(f, c, 0.0, p, df, dc, dp),
    )
    for n in range(2):
        (f, c), (df, dc), (p, _), (dp, _) = (pair[n] for pair in points)
        single = (
            chain.velocity(f, c, 0.0),
            *chain.vjp(f, c, 0.0, p),
            *chain.vjp_derivative(f, c, 0.0, p, df, dc, dp),
        )
        for found, wanted in zip(stacked, single, strict=True):
            for name in wanted if isinstance(wanted, dict) else [...]:
                close(found[name][n], wanted[name], rtol=1e-13)


@drawn
@given(chains, seeds)
def test_affine_in_control_is_what_it_says(chain, seed):
    """An affine function has the mean of two values at the mean, another one has not."""
    rng = np.random.default_rng(seed)
    (f, c), (_, d) = (point(chain, rng) for _ in range(2))
    ends = [chain.velocity(f, x, 0.3) for x in (c, d)]
    middle = chain.velocity(f, along(c, along(d, c, -1.0), 0.5), 0.3)
    gap = np.max(np.abs(middle - 0.5 * (ends[0] + ends[1])))
    if chain.affine_in_control:
        assert gap <= 1e-12 * (1.0 + max(np.max(np.abs(e)) for e in ends))
    else:
        assert gap > 1e-10


@drawn
@given(
    st.one_of(st.none(), activations),
    st.one_of(st.none(), activations),
    st.booleans(),
    signs,
    st.booleans(),
    seeds,
)
def test_rows_reproduce_the_velocity(phi, psi, offset, sign, on_grid, seed):
    maps = [Pointwise(phi)] if phi else []
    maps += [Linear("b", Dense() if on_grid else 3, sign)]
    maps += [Offset("a")] if offset else []
    maps += [Pointwise(psi)] if psi else []
    chain = Chain(GRID if on_grid else 3, tuple(maps))
    f, c = point(chain, np.random.default_rng(seed))
    rows = chain.rows
    assert rows is not None
    assert (rows.phi, rows.psi, rows.block, rows.sign) == (phi, psi, "b", sign)
    assert (rows.offset is None) == (not offset)
    u = c["b"] @ rows.inputs(f)
    if rows.offset is not None:
        u = u + c[rows.offset][:, None]
    close(u if psi is None else psi(u), chain.velocity(f, c, 0.0), rtol=1e-13)


@pytest.mark.parametrize(
    ("chain", "has"),
    [
        (WidthDepth(GRID, tanh), True),
        (NeuralODE(3, tanh), True),
        (NeuralODE2(3, tanh), True),
        (WidthDepth(GRID, tanh, LowRank(2)), False),
        (WidthDepth(GRID, tanh, Convolution()), False),
        (SymmetricLayer(GRID, tanh), False),
        (Bottleneck(3, tanh, hidden=3), False),
        (Chain(3, (Offset("a"), Linear("b", 3))), False),
        (Chain(3, (Inputs(time=True), Linear("b", 3))), False),
        (Chain(3, (Linear("b", 3), Pointwise(tanh), Offset("a"))), False),
    ],
)
def test_which_networks_have_rows(chain, has):
    assert (chain.rows is not None) == has


def test_what_a_subclass_replaces_is_not_overlooked(rng):
    class Twice(NeuralODE):
        def velocity(self, f, c, t):
            return 2.0 * super().velocity(f, c, t)

    network = Twice(2, tanh)
    assert not network.derived
    assert network.rows is None
    assert NeuralODE(2, tanh).derived
    control, f = network.controls(TimeMesh(1.0, 1)).random(rng), rng.standard_normal((2, 3))
    final = integrate(network, control, f, Euler()).trajectory.final
    step = network.velocity(f, control.at_layer(0, 0.0), 0.0)
    np.testing.assert_allclose(final, f + step, rtol=0, atol=1e-15)


def test_time_and_data_are_rows_of_the_state(rng):
    data = rng.standard_normal((2, 4))
    chain = Chain(2, (Inputs(time=True, data=data), Linear("w", 2), Pointwise(tanh)))
    f, w = rng.standard_normal((2, 4)), rng.standard_normal((2, 5))
    by_hand = np.tanh(w[:, :2] @ f + w[:, 2:4] @ data + 0.3 * w[:, 4:])
    np.testing.assert_allclose(chain.velocity(f, {"w": w}, 0.3), by_hand, rtol=0, atol=1e-15)
    some = chain.batch([2, 0])
    np.testing.assert_allclose(
        some.velocity(f[:, [2, 0]], {"w": w}, 0.3), by_hand[:, [2, 0]], rtol=0, atol=1e-15
    )
    with pytest.raises(ValueError, match="initial has 3 samples, the data of this network 4"):
        LearningProblem(chain, f[:, :3], f[:, :3], TimeMesh(1.0, 2))
    problem = LearningProblem(chain, f, f, TimeMesh(1.0, 2)).batch([2, 0])
    np.testing.assert_array_equal(problem.network.maps[0].data, data[:, [2, 0]])
    shared = Chain(2, (Inputs(data=data[:, :1]), Linear("w", 2)))
    np.testing.assert_allclose(
        shared.velocity(f, {"w": w[:, :4]}, 0.0),
        w[:, :2] @ f + w[:, 2:4] @ data[:, :1],
        rtol=0,
        atol=1e-15,
    )
    with pytest.raises(
        ValueError, match=r"6 columns, .* data of 4 samples: a stepper that is implicit"
    ):
        chain.velocity(np.ones((2, 6)), {"w": w}, 0.0)


@pytest.mark.parametrize(("sign", "back"), [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_the_adjoint_has_a_sign_of_its_own(sign, back, rng):
    chain = Chain(GRID, (Linear("b", Dense(), sign), Pointwise(tanh), Adjoint("b", back)))
    f, c = point(chain, rng)
    w, b = GRID.weights[:, None], c["b"]
    by_hand = back * (b.T @ (w * np.tanh(sign * (b @ (w * f)))))
    np.testing.assert_allclose(chain.velocity(f, c, 0.0), by_hand, rtol=0, atol=1e-14)


def test_a_chain_on_another_grid(rng):
    network = WidthDepth(GRID, tanh, Convolution())
    finer = trapezoid(Interval(0, 2), 7)
    moved, wanted = network.on(finer), WidthDepth(finer, tanh, Convolution())
    f, c = point(wanted, rng)
    assert type(moved) is WidthDepth
    assert moved.grid is finer
    np.testing.assert_array_equal(moved.velocity(f, c, 0.0), wanted.velocity(f, c, 0.0))
    assert network.grid is GRID


def test_what_the_package_declares():
    assert str(WidthDepth(GRID, tanh).formula()) == (
        "f_t = tanh(bias - kernel f), (kernel g)_i = sum_j w_j kernel_ij g_j"
    )
    assert SymmetricLayer(GRID, tanh).formula().startswith("f_t = kernel* tanh(bias - kernel f), ")
    assert NeuralODE(2, tanh).formula() == "f_t = tanh(weight f + bias)"
    assert NeuralODE2(2, tanh).formula() == "f_t = weight tanh(f) + bias"
    net = Bottleneck(2, tanh, hidden=4)
    assert net.formula() == "f_t = weight2 tanh(weight1 f + bias1) + bias2"
    assert [b.name for b in net.blocks()] == ["weight1", "bias1", "weight2", "bias2"]
    assert [b.name for b in NeuralODE(2, tanh).blocks()] == ["bias", "weight"]
    assert net.grid is None
    assert net.units == 2
    assert "Bottleneck(f_t = weight2" in repr(net)
    inputs = Chain(2, (Inputs(time=True), Linear("w", 3), Offset("a"), Linear("v", 2, sign=-1)))
    assert inputs.formula() == "f_t = -v (w (f, t) + a)"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Chain(3, ()), ValueError, "maps must not be empty"),
        (lambda: Chain(0, (Linear("w", 3),)), ValueError, "space must be at least 1"),
        (lambda: Chain(3, (Linear("w", 2),)), ValueError, r"lead back to R\^3, they end in R\^2"),
        (lambda: Chain(GRID, (Linear("w", 4),)), ValueError, "functions on 4 nodes.*R\\^4"),
        (lambda: Chain(3, (tanh,)), TypeError, "must be a Map, got tanh"),
        (lambda: Chain(3, (Linear("b", Dense()),)), TypeError, "kernel Dense.* needs a grid"),
        (lambda: Chain(3, (Adjoint("w"),)), ValueError, "needs a Linear of that block before"),
        (
            lambda: Chain(3, (Linear("w", 2), Linear("v", 3), Adjoint("w"))),
            ValueError,
            r"Adjoint\('w'\) takes R\^2, but before it stands R\^3",
        ),
        (
            lambda: Chain(3, (Linear("w", 2), Linear("w", 3))),
            ValueError,
            "used with the shapes",
        ),
        (
            lambda: Chain(3, (Linear("w", 3), Inputs(time=True), Linear("v", 3))),
            ValueError,
            "Inputs must be the first map",
        ),
        (lambda: Chain(GRID, (Inputs(time=True),)), TypeError, "not on a grid"),
        (lambda: Chain(3, (Linear("w", 3),), order=("v",)), ValueError, "unknown block 'v'"),
        (lambda: Linear("w", 0), ValueError, "into must be at least 1"),
        (lambda: Linear("w", 3, sign=2), ValueError, "sign must be 1 or -1"),
        (lambda: Linear("", 3), TypeError, "block must be a name"),
        (lambda: WidthDepth(3, tanh), TypeError, "grid must be a Grid such as .*, got 3"),
        (
            lambda: WidthDepth(GRID, tanh, "dense"),
            TypeError,
            "kernel must be a Kernel such as .*, got",
        ),
        (lambda: NeuralODE(2, tanh).kernel, AttributeError, "has no kernel"),
        (
            lambda: Chain(1, (Pointwise(tanh), Linear("w", 1), Pointwise(sigmoid))).activation,
            AttributeError,
            "has 2 activations",
        ),
    ],
)
def test_maps_that_do_not_fit(make, error, words):
    with pytest.raises(error, match=words):
        make()
