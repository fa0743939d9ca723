"""Which theorems apply: the counterexamples of the ledger name what fails, the positive cases
pass.
"""

from dataclasses import replace
from math import cosh, e, exp, inf, log, pi, sqrt

import numpy as np
import pytest

from continuum import (
    Interval,
    LowRank,
    NeuralODE,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    arctan,
    elu,
    gauss_hermite,
    gauss_legendre,
    gelu,
    identity,
    midpoint,
    relu,
    sigmoid,
    softplus,
    tanh,
    user_activation,
)
from continuum.exact import asymmetric_growth, linear_growth, moving_bias, scalar_decay, volterra
from solvers import Explanation, Hypothesis, Theorem, explain
from solvers.theory.hypotheses import SigmaHypotheses

UNIT = Interval(0, 1)
MESH = TimeMesh(1.0, 20)
GRID = gauss_legendre(UNIT, 12)


def told(sigma, bias=0.0, kernel=0.0, grid=GRID, initial=None, kind=WidthDepth, mesh=MESH):
    network = kind(grid, sigma)
    return explain(network, network.control(mesh, bias=bias, kernel=kernel), initial)


def signed_root(lipschitz):
    """sgn(s) |s|^1/2."""
    return user_activation(
        "root",
        value=lambda s: np.sign(s) * np.sqrt(np.abs(s)),
        derivative=lambda s: 0.5 / np.sqrt(np.abs(s)),
        second=lambda s: -0.25 * np.sign(s) / np.abs(s) ** 1.5,
        antiderivative=lambda s: np.abs(s) ** 1.5 / 1.5,
        lipschitz=lipschitz,
    )


def applying(explanation, verdict):
    return {t.name for t in explanation.theorems if t.applies == verdict}


# counterexamples


@pytest.mark.parametrize("lipschitz", [inf, 5.0])
def test_lm03_the_root_is_not_lipschitz(lipschitz):
    """Found by zooming in, whatever constant was stated."""
    found = told(signed_root(lipschitz), kernel=-1.0)
    for name in ("2.1", "2.2"):
        assert found[name].applies == "no"
        assert found[name].missing == ("sigma locally Lipschitz",)
    assert found["3.1"].missing == ("sigma globally Lipschitz",)
    assert found["2.1"]["sigma locally Lipschitz"].number > 1e3
    assert found["3.4"]["sigma'(0) > 0"].verdict == "no"


def test_lm04_oscillating_coefficients():
    """a_l = (-1)^l: sum |a_l+1 - a_l| tau / sum |a_l| tau = 2 (L - 1) / L, against about 1 / L for
    a smooth one.
    """
    network = WidthDepth(GRID, relu)
    space = network.controls(TimeMesh(1.0, 10))
    signs = np.repeat((-1.0) ** np.arange(10)[:, None], len(GRID), axis=1)
    found = explain(network, space.sample(bias=signs))["2.1"]
    assert found.applies == "undecided"
    assert found.missing == ("coefficients converge strongly in depth",)
    h = found["coefficients converge strongly in depth"]
    assert h.number == pytest.approx(1.8, rel=1e-12)
    assert "LM-04" in h.phrase
    smooth = explain(network, space.sample(bias=lambda y, t: 1.0 + t + 0 * y))["2.1"]
    h = smooth["coefficients converge strongly in depth"]
    assert (h.verdict, h.number) == ("undecided", pytest.approx(0.09 / 1.5, rel=1e-12))
    assert "LM-04" not in h.phrase
    assert "one depth" in h.phrase
    still = explain(network, space.sample(bias=3.0))
    assert still["2.1"].applies == "yes"


def test_lm26_one_grid_does_not_tell_the_rank():
    found = told(identity, 0.0, np.minimum, midpoint(UNIT, 40))["3.4"]
    assert found.applies == "undecided"
    assert found.missing == ("B of finite rank",)
    assert found["B of finite rank"].number == 40
    assert "LM-26" in found["B of finite rank"].phrase
    assert found["D T positive definite"].verdict == "yes"
    smooth = told(tanh, 0.0, lambda y, z: np.exp(-20 * (y - z) ** 2), gauss_legendre(UNIT, 40))[
        "3.4"
    ]
    assert smooth["B of finite rank"].verdict == "undecided"
    steps = told(tanh, 0.0, lambda y, z: np.exp(0.4 * y * z), gauss_legendre(UNIT, 200))[
        "3.4"
    ]  # each 200 times the next
    assert steps["B of finite rank"].verdict == "undecided"


def test_lm27_a_kernel_that_vanishes_too_slowly():
    """b = -1 / (1 + t) on (0, 3): int |B| = ln 4, sum |b_k+1 - b_k| about 1 - 1/4."""
    found = told(identity, 0.0, lambda y, z, t: -1.0 / (1.0 + t) + 0 * y * z, mesh=TimeMesh(3.0, 1))
    assert found["3.2 (iii)"].missing == ("autonomous", "B_s >= 0")
    assert found["3.2 (i)"]["B_s >= 0"].number == pytest.approx(-1.0, abs=0.03)
    assert found["Remark 3.1"].missing == ("a, b converge integrably in time",)
    assert found["Remark 3.1"].applies == "undecided"
    assert found["Remark 3.1"]["a, b converge integrably in time"].number == pytest.approx(
        log(4) - 0.75, rel=0.03
    )
    assert "LM-27" in found["Remark 3.1"]["a, b converge integrably in time"].phrase
    assert found["3.4"]["D T positive definite"].verdict == "undecided"
    assert found["3.1"].applies == "yes"
    assert found["3.1"]["int |B| dt finite"].number == pytest.approx(log(4), rel=1e-3)


def test_lm30_a_outside_the_range_of_the_root():
    found = told(tanh, lambda y: np.cos(pi * y), 1.0)
    for name in ("3.2 (iii)", "3.2 (iv)"):
        assert found[name].missing == ("a in R(B^1/2)",)
        assert found[name]["a in R(B^1/2)"].number == pytest.approx(1.0, abs=1e-12)
    assert found["3.4"].missing == ("a in R(B)",)
    assert found["3.2 (ii)"].applies == "yes"


def test_lm31_one_grid_does_not_tell_the_range():
    """b = min(y, z), a = y: on n midpoints the Picard sums are n for R(B), 1 - 1 / (2n) for
    R(B^1/2).
    """
    found = told(identity, lambda y: y, np.minimum, midpoint(UNIT, 20))
    assert found["3.2 (iii)"].missing == ("a in R(B^1/2)",)
    assert found["3.2 (iii)"].applies == "undecided"
    assert found["3.2 (iii)"]["a in R(B^1/2)"].number == pytest.approx(1 - 1 / 40, rel=1e-10)
    assert found["3.4"]["a in R(B)"].number == pytest.approx(20, rel=1e-9)
    assert "steady_state" in found["3.4"]["a in R(B)"].phrase
    assert "LM-31" in found["3.2 (iii)"].consequence


def test_lm36_the_printed_exponent_lacks_the_measure():
    """b = -1 on (0, 2): int |f(1)| = 2 e^2, the corrected bound."""
    grid = gauss_legendre(Interval(0, 2), 6)
    found = told(relu, 0.0, -1.0, grid, np.ones((6, 1)))
    assert found["L1 bound, printed"].missing == ("|Y| <= 1",)
    assert found["L1 bound, printed"]["|Y| <= 1"].number == 2.0
    assert f"{e:.6g}" in found["L1 bound, printed"].consequence
    assert found["L1 bound"].applies == "yes"
    assert found["L1 bound"]["int sup_z int |b| dy dt finite"].number == pytest.approx(
        2.0, rel=1e-13
    )
    assert found["L1 bound"].consequence == f"int |f(T)| <= (2 + 0) {e**2:.6g}"
    assert told(relu, 0.0, -1.0)["L1 bound, printed"].applies == "yes"


def test_the_l1_bound_takes_columns():
    """b = y z^0 on (0, 2), T = 3: sup_z int |b| dy = 2; a = 1: int int |a| = 6; b transposed: 2 sup
    z.
    """
    grid = gauss_legendre(Interval(0, 2), 6)
    number = lambda b: told(relu, 1.0, b, grid, mesh=TimeMesh(3.0, 2))["L1 bound"]  # noqa: E731
    found = number(lambda y, z: y + 0 * z)
    assert found["int sup_z int |b| dy dt finite"].number == pytest.approx(6.0, rel=1e-13)
    assert found["int int |a| finite"].number == pytest.approx(6.0, rel=1e-13)
    turned = number(lambda y, z: z + 0 * y)
    assert turned["int sup_z int |b| dy dt finite"].number == pytest.approx(
        6 * grid.coordinates.max(), rel=1e-13
    )


# positive cases


def test_lm01_lm28_scalar_decay():
    network, control, initial = scalar_decay.setup(GRID, 10)
    found = explain(network, control, initial)
    assert applying(found, "no") == {"contractive layer"}
    assert applying(found, "undecided") == {"2.2"}
    value = f"{log(cosh(1.0)):.6g}"
    assert found["3.2 (i)"].consequence.endswith(f"= {value}")
    assert found["3.2 (ii)"].consequence.endswith(f"= {value}")
    assert f"factor {e:.6g}" in found["3.1"].consequence
    assert found["Proposition 3.5"].consequence == f"|f(t)| <= 1 + {sqrt(2 * log(cosh(1.0))):.6g} t"
    assert "r < 1;" in found["3.4"].consequence
    assert found["Lemma 3.3"].consequence.endswith("u_e = 0")
    assert (
        explain(network, control)["Proposition 3.5"].consequence
        == "|f(t)| <= |f_I| + (2 L int Sigma(u_I))^1/2 t"
    )


def test_lm28_sigmoid_has_a_sigma_bounded_below():
    """Sigma = log((1 + e^s) / 2) >= -log 2; no steady states, so (iii) and 3.4 are void."""
    grid = gauss_legendre(Interval(0, 3), 4)
    found = told(sigmoid, 0.0, 1.0, grid, np.zeros((4, 1)))
    assert found["3.2 (ii)"].applies == "yes"
    assert found["3.2 (ii)"]["int Sigma bounded below"].number == pytest.approx(
        -3 * log(2), rel=1e-12
    )
    assert found["3.2 (ii)"].consequence.endswith(f"= {3 * log(2):.6g}")
    assert found["3.2 (iii)"].missing == ("s sigma(s) >= 0",)
    assert found["3.4"].missing == ("sigma(0) = 0",)
    assert found["Proposition 3.5"].missing == ("sigma(0) = 0",)
    assert found["bounded activation"].consequence == "|f(t)| <= 0 + 1.73205 t"


def test_lm02_a_moving_bias():
    """int |B| = 2; samples of smooth functions converge strongly."""
    network, control, initial = moving_bias.setup(GRID, 5)
    found = explain(network, control, initial)
    assert found["2.1"].applies == found["3.1"].applies == "yes"
    assert f"{exp(2.0):.6g}" in found["3.1"].consequence
    assert found["3.2 (i)"].missing == ("autonomous",)
    fast = told(tanh, lambda y, t: np.sin(150 * t) + 0 * y)["2.1"]
    assert fast.missing == ("coefficients converge strongly in depth",)
    assert fast.applies == "undecided"


@pytest.mark.parametrize("case", [linear_growth, asymmetric_growth])
def test_lm11_lm12_linear_growth(case):
    """Not symmetric and B_s indefinite: only a bounded sigma bounds the growth; (phi, psi) is 0 and
    < 0.
    """
    found = explain(*case.setup(gauss_legendre(UNIT, 64), 4))
    assert found["bounded activation"].applies == "yes"
    assert found["Proposition 3.5"].missing == ("B_s >= 0",)
    assert found["Lemma 3.3"].missing == ("B symmetric",)
    assert found["3.4"]["a in R(B)"].verdict == found["3.4"]["B of finite rank"].verdict == "yes"
    overlap = 0.0 if case is linear_growth else sqrt(3) * (0.5 - 1.6004573992287588 / 3)
    assert found["3.4"]["D T positive definite"].number == pytest.approx(overlap, abs=1e-12)
    assert found["3.4"].missing == ("D T positive definite",)


def test_lm24_a_null_space():
    found = told(tanh, 0.0, 1.0, initial=GRID.sample(lambda y: 1 + np.cos(pi * y)))
    assert {"3.2 (iii)", "3.2 (iv)", "Lemma 3.3", "3.4"} <= applying(found, "yes")
    assert found["3.4"]["B of finite rank"].number == 1


def test_lm35_finite_rank():
    """D = diag(10, 1): DT positive definite, D T^T not; the least rate is .54498."""
    grid = gauss_legendre(UNIT, 40)
    modes = np.stack([sqrt(2) * np.cos(k * pi * grid.coordinates) for k in range(1, 5)], axis=1)
    t = 0.85 * np.array([[0.4, -0.09], [0.9, 0.4]])
    psi = modes @ np.vstack([t, np.linalg.cholesky(np.eye(2) - t.T @ t).T])
    phi = modes[:, :2] * np.array([10.0, 1.0])
    for network, kernel in (
        (WidthDepth(grid, tanh), phi @ psi.T),
        (WidthDepth(grid, tanh, LowRank(2)), np.stack([phi, psi])),
    ):
        found = explain(network, network.control(MESH, bias=modes[:, 0], kernel=kernel))
        assert found["3.4"].applies == "yes"
        assert found["3.4"]["B of finite rank"].number == 2
        assert found["3.4"]["D T positive definite"].number == pytest.approx(0.34, rel=1e-9)
        assert "r < 0.544981; int Sigma(u) may first grow" in found["3.4"].consequence
        assert found["3.2 (i)"].missing == ("B_s >= 0",)
        beside = explain(network, network.control(MESH, bias=modes[:, 2], kernel=kernel))
        assert beside["3.4"].missing == ("a in R(B)",)


def test_lm42_contractive():
    """b = 2, a = 1: contractive for tanh, not for -tanh or gelu; nothing else is said of this
    layer.
    """
    found = told(tanh, 1.0, 2.0, kind=SymmetricLayer)
    assert applying(found, "yes") == {"contractive layer"}
    assert {t.missing for t in found.theorems[:-1]} == {("f_t = sigma(a - Bf)",)}
    minus = user_activation(
        "-tanh",
        value=lambda s: -np.tanh(s),
        derivative=lambda s: -tanh.derivative(s),
        second=lambda s: -tanh.second(s),
        antiderivative=lambda s: -tanh.antiderivative(s),
        lipschitz=1.0,
        bounded=True,
    )
    for sigma, least in ((minus, -1.0), (gelu, -0.129)):
        layer = told(sigma, 1.0, 2.0, kind=SymmetricLayer)["contractive layer"]
        assert layer.missing == ("sigma' >= 0",)
        assert layer["sigma' >= 0"].number == pytest.approx(least, abs=1e-3)
    assert told(tanh, 1.0, 2.0)["contractive layer"].missing == ("f_t = B* sigma(a - Bf)",)
    assert told(minus, 0.0, 1.0)["3.2 (ii)"].missing == ("int Sigma bounded below",)
    assert told(minus, 0.0, 1.0)["3.4"].missing == ("sigma'(0) > 0",)


# activations, the line, symmetry


@pytest.mark.parametrize("sigma", [relu, elu(2.0)])
def test_a_kink_at_zero(sigma):
    assert told(sigma, 0.0, 1.0)["3.4"].missing == ("sigma'(0) > 0",)
    assert told(sigma, 0.0, 1.0)["Lemma 3.3"].applies == "yes"


def test_gelu_needs_no_monotony_for_lyapunov():
    """s sigma(s) = s^2 Phi(s) >= 0, but sigma' < 0 somewhere."""
    found = told(gelu, 0.0, 1.0)
    assert found["3.2 (iii)"].applies == "yes"
    assert found["Proposition 3.5"].missing == ("sigma' >= 0",)
    assert found["3.4"]["sigma'(0) > 0"].number == pytest.approx(0.5, rel=1e-12)


def test_the_line_has_infinite_measure():
    """A network with sigma(0) != 0 is refused there; the hypothesis says why."""
    grid = gauss_hermite(8)
    refused = SigmaHypotheses(softplus, grid.domain.measure).integrable
    assert (refused.verdict, refused.number) == ("no", inf)
    assert SigmaHypotheses(softplus, 2.0).integrable.verdict == "yes"
    assert told(tanh, 0.0, 0.0, grid)["3.1"].applies == "yes"
    assert told(tanh, 0.0, 0.0, grid)["bounded activation"].missing == ("|Y| finite",)


def test_a_supremum_is_stated_or_not_used():
    """The bound has a number where sup |sigma| is stated, and none where it is sampled."""
    for sigma, number in ((tanh, 1.0), (sigmoid, 1.0), (arctan, np.pi / 2)):
        theorem = told(sigma, 0.0, 1.0, initial=np.zeros((12, 1)))["bounded activation"]
        assert theorem["sigma bounded"].number == number
        assert theorem.consequence == f"|f(t)| <= 0 + {number:.6g} t"
    theorem = told(replace(tanh, supremum=None), 0.0, 1.0)["bounded activation"]
    assert theorem.applies == "yes"
    assert theorem["sigma bounded"].phrase.endswith(
        "which sup |sigma| may exceed: it is not stated"
    )
    assert theorem.consequence == "|f(t)| <= |f_I| + sup |sigma| |Y|^1/2 t"
    theorem = told(replace(tanh, supremum=0.5), 0.0, 1.0)["bounded activation"]
    assert theorem.missing == ("sigma bounded",)


def test_a_square_is_not_almost_linear():
    square = user_activation(
        "square",
        value=lambda s: s**2,
        derivative=lambda s: 2 * s,
        second=lambda s: 2 + 0 * s,
        antiderivative=lambda s: s**3 / 3,
        lipschitz=inf,
    )
    found = told(square, 0.0, 1.0)
    assert found["2.1"].missing == ("|sigma| <= C (1 + |s|)",)
    assert found["2.1"]["sigma locally Lipschitz"].verdict == "undecided"
    assert found["3.2 (ii)"]["int Sigma bounded below"].verdict == "no"


def test_nothing_and_volterra():
    """b = 0: rank 0.  A triangular kernel: B + B* = 1 (1, .) >= 0, not symmetric, of full rank."""
    found = told(tanh, 1.0, 0.0)
    assert found["3.4"].missing == ("a in R(B)", "D T positive definite")
    assert found["3.4"]["B of finite rank"].number == 0
    network, control, initial = volterra.setup(midpoint(UNIT, 16), 4)
    found = explain(network, control, initial)
    assert found["Proposition 3.5"].applies == "yes"
    assert found["3.2 (iii)"].missing == ("B symmetric",)


def test_a_trained_control_and_nodes_of_weight_zero():
    """b = 1 + t at the ends of four layers of (0, 2): int |B| = 4, max |b| = 3."""
    grid = GRID.observed_at(np.array([[0.3]]))
    network = WidthDepth(grid, sigmoid)
    control = network.controls(TimeMesh(2.0, 4), in_time="nodes").sample(
        kernel=lambda y, z, t: 1 + t + 0 * y * z
    )
    found = explain(network, control, grid.sample(1.0, -3.0))
    assert found["3.1"]["int |B| dt finite"].number == pytest.approx(4.0, rel=1e-12)
    assert found["2.2"]["a, b bounded and converging in width"].number == pytest.approx(
        3.0, rel=1e-12
    )
    assert found["bounded activation"].consequence == "|f(t)| <= 3 + 1 t"
    assert told(relu)["bounded activation"].consequence == "|f(t)| <= |f_I| + sup |sigma| |Y|^1/2 t"


def test_a_low_rank_kernel_is_of_finite_rank_on_any_grid():
    """Two terms on two nodes: the format tells the rank, but the nodes do not tell whether a is in
    R(B).
    """
    network = WidthDepth(gauss_legendre(UNIT, 2), tanh, LowRank(2))
    pair = (np.ones_like, lambda y: y)
    found = explain(network, network.control(MESH, bias=1.0, kernel=(pair, pair)))["3.4"]
    assert found["B of finite rank"].verdict == "yes"
    assert found.missing == ("a in R(B)",)
    assert found.applies == "undecided"


def test_slightly_negative_is_undecided():
    y = GRID.coordinates
    for drop, verdict in ((1e-10, "undecided"), (1e-6, "no")):
        kernel = np.ones((12, 12)) - drop * np.outer(np.cos(pi * y), np.cos(pi * y))
        assert told(tanh, 0.0, kernel)["Proposition 3.5"]["B_s >= 0"].verdict == verdict


# integrals over time, and their conditioning


def moving(b, horizon=1.0, layers=20):
    """Theorem 3.1 for f_t = -b(t) int f, whose solution from 1 is exp(-int b)."""
    network = WidthDepth(midpoint(UNIT, 3), identity)
    mesh = TimeMesh(horizon, layers)
    at = lambda t: b(t) if t > 0 else 0.0  # noqa: E731 - one time does not matter
    control = network.control(mesh, kernel=lambda y, z, t: at(t) + 0 * y * z)
    return explain(network, control)["3.1"]


def printed_factor(theorem):
    return float(theorem.consequence.split("factor ")[1].split()[0])


@pytest.mark.parametrize("power", [0.5, 0.75, 0.9])
def test_an_integrable_singularity_at_an_end(power):
    """b = -(1 - p) t^-p: int |B| = 1, so solutions grow by e; the 64 midpoints gave 2.617."""
    for b in (lambda t: (power - 1) * t**-power, lambda t: (power - 1) * (1 - t) ** -power):
        found = moving(b)
        if power == 0.5:
            assert found.applies == "yes"
            assert found["int |B| dt finite"].number == pytest.approx(1.0, rel=3e-7)
            assert printed_factor(found) == pytest.approx(e, rel=2e-6)
        elif found.applies == "yes":
            assert 1.0 <= found["int |B| dt finite"].number <= 1.0 + 1e-6
        else:  # near T doubles do not resolve T - t
            assert found.missing == ("int |B| dt finite",)


@pytest.mark.parametrize("width", [1e-2, 2e-3, 3e-4])
@pytest.mark.parametrize("centre", [0.2345, 0.5, 0.9])
def test_a_narrow_peak_is_seen(width, centre):
    """b = -1 - a Gaussian of mass 1.416: exp(2.416) = 11.2."""
    height = 1.416 / (width * sqrt(2 * pi))
    found = moving(lambda t: -1.0 - height * np.exp(-0.5 * ((t - centre) / width) ** 2))
    assert found.applies == "yes"
    assert found["int |B| dt finite"].number == pytest.approx(2.416, rel=3e-7)


def test_a_pulse_with_jumps_and_kinks_between_layers():
    found = moving(lambda t: -50.0 * (0.3 < t < 0.31) - abs(t - 0.7), layers=3)
    assert found["int |B| dt finite"].number == pytest.approx(0.5 + 0.29, rel=1e-6)


def test_what_cannot_be_integrated_is_undecided():
    found = moving(lambda t: -1.0 / t)
    assert found.applies == "undecided"
    assert found.missing == ("int |B| dt finite",)
    assert "factor" not in found.consequence
    network = WidthDepth(GRID, relu)
    control = network.control(MESH, kernel=lambda y, z, t: (t and 1.0 / t) + 0 * y * z)
    found = explain(network, control)
    for name in ("L1 bound", "L1 bound, printed"):
        theorem = found[name]
        assert theorem.applies == "undecided"
        assert theorem.consequence.startswith("int |f(T)| <= (int |f_I| + L int int |a|) exp(L ")
    with pytest.raises(
        ValueError, match="kernel at the nodes has entries that are NaN or infinite"
    ):
        moving(lambda t: -1.0 / (t - 0.5) if t != 0.5 else -inf)


def test_linear_controls_are_bounded_from_above():
    """b from -1 to 1 and back in two layers: int |B| = 1; solutions reach exp(1/2) on the way."""
    network = WidthDepth(midpoint(UNIT, 3), identity)
    space = network.controls(TimeMesh(2.0, 2), in_time="nodes")
    control = space.sample(kernel=np.array([-1.0, 1.0, -1.0])[:, None, None] * np.ones((3, 3)))
    number = explain(network, control)["3.1"]["int |B| dt finite"].number
    assert 1.0 <= number <= 2.0 + 1e-12


def test_linear_controls_of_low_rank_kernels_are_integrated():
    """phi from 1 to -1, psi from -1 to 1: |B| = (1 - 2 t)^2.  phi from 0 to 1, psi from 1 to 0:
    |B| = t (1 - t), which is 0 at both ends.
    """
    network = WidthDepth(midpoint(UNIT, 3), identity, LowRank(1))
    space = network.controls(TimeMesh(1.0, 1), in_time="nodes")
    one = np.ones((3, 1))
    for phi, psi, expected in (((1, -1), (-1, 1), 1 / 3), ((0, 1), (1, 0), 1 / 6)):
        kernel = np.stack([np.stack([p * one, q * one]) for p, q in zip(phi, psi, strict=True)])
        found = explain(network, space.sample(kernel=kernel))["3.1"]
        assert found["int |B| dt finite"].number == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["3.2 (iii)", "3.4"])
def test_a_small_eigenvalue_above_rounding_belongs_to_the_range(kind):
    """b = 1 + 2e-9 cos cos: a = cos is in R(B), cos of another frequency is not."""
    grid = midpoint(UNIT, 64)
    mode = lambda y: np.cos(pi * y)  # noqa: E731
    kernel = lambda y, z: 1.0 + 2e-9 * mode(y) * mode(z)  # noqa: E731
    name = "a in R(B^1/2)" if kind == "3.2 (iii)" else "a in R(B)"
    for a, verdict in (
        (mode, "yes"),
        (lambda y: 1 + mode(y), "yes"),
        (lambda y: np.cos(2 * pi * y), "no"),
        (lambda y: mode(y) + 1e-3 * np.cos(2 * pi * y), "no"),
    ):
        found = told(tanh, a, kernel, grid)[kind]
        assert found[name].verdict == verdict
    small = told(tanh, mode, lambda y, z: 1.0 + 2e-12 * mode(y) * mode(z), grid)[kind]
    assert small[name].verdict == "undecided"


# the records


def test_records_look_up_and_print():
    found = told(tanh, 1.0, 2.0)
    assert isinstance(found, Explanation)
    with pytest.raises(ValueError, match=r"Did you mean 'Lemma 3\.3'"):
        found["Lema 3.3"]
    with pytest.raises(ValueError, match="Did you mean 'autonomous'"):
        found["3.4"]["autonomus"]
    text = str(found)
    for theorem in found.theorems:
        assert f"\n{theorem.name}: {theorem.applies}\n" in "\n" + text
        for h in theorem.hypotheses:
            assert h.phrase
            assert any(
                h.name in line and h.verdict in line and h.phrase in line
                for line in text.splitlines()
            )
        assert theorem.consequence in text


def test_a_theorem_adds_up_its_verdicts():
    yes, no, open_ = (Hypothesis(v, v, 0.0, "so") for v in ("yes", "no", "undecided"))
    for hypotheses, applies, missing in (
        ((yes, yes), "yes", ()),
        ((yes, open_), "undecided", ("undecided",)),
        ((no, open_), "no", ("no",)),
    ):
        theorem = Theorem("x", hypotheses, "y")
        assert (theorem.applies, theorem.missing) == (applies, missing)


def test_bad_input():
    network = WidthDepth(GRID, tanh)
    control = network.control(MESH)
    with pytest.raises(ValueError, match="control was made for another network"):
        explain(NeuralODE(3, tanh), control)
    with pytest.raises(TypeError, match="network must be a Chain"):
        explain("network", control)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="initial has shape"):
        explain(network, control, np.ones((3, 1)))
    with pytest.raises(ValueError, match="control was made for another network"):
        explain(WidthDepth(gauss_legendre(UNIT, 3), tanh), control)
    with pytest.raises(TypeError, match="control must be"):
        explain(network, np.ones(3))  # type: ignore[arg-type]
