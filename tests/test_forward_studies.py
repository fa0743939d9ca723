"""The studies of the forward theory: each on a tiny case, against closed forms, and their
figures.
"""

import numpy as np
import pytest
import scipy.linalg
from pictures import check_pictures

from continuum import Dense, exact, gauss_legendre
from solvers import integrate, observed_orders
from studies import run_sweep
from studies.bench.registry import find_study
from studies.bench.store import read_case
from studies.liu_markowich.architectures import architectures, cost
from studies.liu_markowich.conditioning import conditioning
from studies.liu_markowich.contractive import contractive
from studies.liu_markowich.depth_convergence import depth_convergence
from studies.liu_markowich.growth import growth
from studies.liu_markowich.sharp_fronts import sharp_fronts, true_slope
from studies.liu_markowich.steady_states import steady_states
from studies.liu_markowich.width_convergence import width_convergence
from studies.shared import STEPPERS, UNIT, last_order

ORDERS = {"Euler": 1, "Heun": 2, "RK4": 4, "implicit midpoint": 2, "Radau IIA": 5}


@pytest.mark.parametrize("problem", ["moving bias", "scalar decay"])
@pytest.mark.parametrize(("method", "order"), ORDERS.items())
def test_orders_in_depth(problem, method, order):
    case = depth_convergence(problem=problem, method=method, coarsest=8, doublings=2)
    assert float(case["order"]) == pytest.approx(order, abs=0.1)


def test_coefficients_frozen_on_layers_limit_the_order():
    left = depth_convergence(method="RK4", coefficients="left", coarsest=10, doublings=2)
    middle = depth_convergence(method="RK4", coefficients="middle", coarsest=10, doublings=2)
    np.testing.assert_allclose(left["error"], [2.840964e-2, 1.439579e-2, 7.238123e-3], rtol=1e-6)
    np.testing.assert_allclose(middle["error"], [1.675766e-3, 4.193459e-4, 1.048604e-4], rtol=1e-6)


def test_orders_ignore_errors_at_rounding():
    assert last_order([8, 16, 32], [1e-8, 2.5e-9, 3e-16]) == pytest.approx(2.0)
    assert np.isnan(last_order([8, 16], [1e-13, 1e-14]))


@pytest.mark.parametrize("problem", ["line", "square"])
@pytest.mark.parametrize(("rule", "order"), [("midpoint", 2), ("trapezoid", 2), ("Simpson", 4)])
def test_orders_in_width(problem, rule, order):
    assert float(
        width_convergence(problem=problem, rule=rule, coarsest=8, doublings=1)["order"]
    ) == pytest.approx(order, abs=0.1)


def test_width_of_smooth_and_of_jumping_kernels():
    gauss = width_convergence(problem="square", rule="Gauss", coarsest=2, doublings=1)
    np.testing.assert_allclose(gauss["error"], [5.486e-4, 1.764e-9], rtol=2e-4)
    zero, half = (
        width_convergence(problem="jump", rule="midpoint", diagonal=d, coarsest=16, doublings=2)
        for d in (0.0, 0.5)
    )
    np.testing.assert_allclose(zero["error"], [0.1211476, 0.06153019, 0.03100671], rtol=1e-6)
    np.testing.assert_allclose(half["error"], [3.644484e-3, 9.432556e-4, 2.399399e-4], rtol=1e-6)


def test_growth_beside_its_bounds():
    linear = growth(problem="linear", horizon=10.0, times=11)
    assert float(linear["speed"]) == pytest.approx(0.7007225863069833, abs=1e-9)
    assert float(linear["norm"][-1]) == pytest.approx(7.113453050106872, abs=1e-9)
    exponential = growth(problem="exponential", horizon=2.0, times=5)
    np.testing.assert_allclose(exponential["norm"], np.exp(exponential["time"]), rtol=1e-9)
    np.testing.assert_allclose(exponential["bound"], exponential["norm"], rtol=1e-9)
    decay = growth(problem="decay", horizon=1.0, times=5)
    assert float(decay["norm"][-1]) == pytest.approx(0.419885257562054924, abs=1e-10)
    bounded = growth(problem="bounded", horizon=5.0, times=5)
    kinds = [case["bound"].attrs["kind"] for case in (bounded, decay, linear, exponential)]
    assert kinds == ["bounded", "linear", "linear", "exponential"]
    for case in (bounded, decay, linear):
        assert np.all(case["norm"] <= case["bound"] * (1 + 1e-12))


def test_euler_contracts_up_to_the_bound():
    for share in (0.4, 0.9, 1.2):
        case = contractive(share=share, apart=1e-4, horizon=2.0)
        assert float(case["factor"]) == pytest.approx(abs(1 - 2 * share), rel=1e-6)
    flow = contractive(apart=1.0, horizon=0.5)
    closed = np.arcsinh(np.exp(-4 * flow["time"]) * np.sinh(1.0))
    np.testing.assert_allclose(flow["distance"], closed, atol=1e-10)
    assert np.all(np.diff(contractive(share=1.0, apart=1.0)["distance"]) < 0)
    assert float(contractive(share=1.2)["distance"][-1]) > 10 * 0.01


def test_products_of_architectures():
    for method, stages, order in (("Euler", 1, 1), ("Heun", 2, 2), ("RK4", 4, 4)):
        case = architectures(method=method, coarsest=8, doublings=2)
        np.testing.assert_array_equal(case["products"], [stages * n for n in (8, 16, 32)])
        assert observed_orders(case["products"].values, case["error"].values)[-1] == pytest.approx(
            order, abs=0.1
        )
    implicit = architectures(method="Radau IIA", coarsest=4, doublings=1)
    np.testing.assert_array_equal(implicit["layers"], [3 * 4, 3 * 8])
    assert np.all(implicit["products"] > 3 * implicit["layers"])
    adaptive = architectures(method="DOP853", coarsest=4, doublings=2)
    assert np.all(adaptive["products"] % 12 == 0)
    assert np.all(adaptive["error"] < 1e-4)


@pytest.mark.parametrize("method", ["implicit midpoint", "Radau IIA"])
def test_products_of_newton_are_those_of_the_kernel(method, monkeypatch):
    case, grid = exact.moving_bias, gauss_legendre(UNIT, 3)
    network, control, initial = case.setup(grid, 4)
    apply, columns = Dense.apply, []

    def spied(self, kernel, f, w):
        columns.append(f.shape[1])
        return apply(self, kernel, f, w)

    monkeypatch.setattr(Dense, "apply", spied)
    integrate(network, control, initial, STEPPERS[method])
    monkeypatch.undo()
    assert sum(columns) > 0
    assert cost(STEPPERS[method], network, control, initial)[1] == sum(columns)


def test_propagators_against_closed_forms():
    decay = conditioning(problem="decay", horizon=1.0, layers=20)
    assert float(decay["norm"][-1]) == pytest.approx(0.5210567336486777, abs=1e-9)
    assert float(decay["condition"][-1]) == 1.0
    shear = conditioning(problem="shear", shear=20.0, horizon=1.0, layers=10)
    for n in (0, 4, 10):
        t = float(shear["time"][n])
        values = np.linalg.svd(
            scipy.linalg.expm(-t * np.array([[1.0, 20.0], [0.0, 2.0]])), compute_uv=False
        )
        assert float(shear["norm"][n]) == pytest.approx(max(1.0, values[0]), rel=1e-6)
        assert float(shear["condition"][n]) == pytest.approx(
            max(1.0, values[0]) / min(1.0, values[-1]), rel=1e-6
        )
    moving = conditioning(problem="moving", horizon=0.5, layers=20)
    assert abs(float(moving["adjoint_gap"])) < 1e-9
    assert float(moving["norm"][-1]) > 1.01


def test_gradients_of_layers_against_closed_forms():
    decay = conditioning(problem="decay", horizon=1.0, layers=40)
    np.testing.assert_allclose(decay["gradient"], decay["lower"], rtol=1e-13)
    np.testing.assert_allclose(decay["gradient"], decay["upper"], rtol=1e-13)
    # the continuum: sigma'(f(0)) times M(1, 0) of LM-39, approached with order 1
    limit = 0.5210567336486777 / np.cosh(1.0) ** 2
    errors = decay["first"].values - limit
    np.testing.assert_allclose(errors[:-1] / errors[1:], 2.0, atol=0.1)
    for depth, found in zip(decay["depth"].values, decay["first_plain"].values, strict=True):
        states = [1.0]
        for _ in range(depth - 1):
            states.append(-np.tanh(states[-1]))
        assert found == pytest.approx(np.prod(1.0 / np.cosh(states) ** 2), rel=1e-12)
    shear = conditioning(problem="shear", shear=20.0, horizon=1.0, layers=8)
    # e^y and B* in the basis of the kernel's two modes; what is orthogonal to both stays
    y, w = np.polynomial.legendre.leggauss(40)
    y, w = 0.5 * y + 0.5, 0.5 * w
    e = np.exp(y) / np.sqrt(w @ np.exp(2 * y))
    modes = np.sqrt(2) * np.cos(np.outer([1, 2], np.pi * y))
    p, adjoint = modes @ (w * e), np.array([[1.0, 0.0], [20.0, 2.0]])
    rest = 1.0 - p @ p
    for k in range(8):
        back = np.linalg.matrix_power(np.eye(2) - adjoint / 8, 7 - k) @ p
        assert float(shear["gradient"][k]) == pytest.approx(np.sqrt(back @ back + rest), rel=1e-12)
        plain = np.linalg.norm(np.linalg.matrix_power(-adjoint, 7 - k) @ p)
        assert float(shear["plain"][k]) == pytest.approx(plain if k < 7 else 1.0, rel=1e-10)
    moving = conditioning(problem="moving", horizon=1.0, layers=10)
    for case in (shear, moving):
        assert np.all(case["lower"] <= case["gradient"] * (1 + 1e-12))
        assert np.all(case["gradient"] <= case["upper"] * (1 + 1e-12))
    assert float(moving["first_plain"][-1]) < 1e-15 < 0.1 < float(moving["first"][-1])


def test_picard_sums():
    ramp, parabola, constant, orthogonal = (
        steady_states(bias=bias, points=10)
        for bias in ("ramp", "parabola", "constant", "orthogonal")
    )
    np.testing.assert_allclose(ramp["sums"], [10, 20, 40], rtol=1e-9)
    np.testing.assert_allclose(ramp["root_sums"], 1 - 1 / (2 * ramp["points"]), rtol=1e-9)
    np.testing.assert_allclose(parabola["sums"], 1.0, atol=0.05)
    verdicts = [
        (c["sums"].attrs["verdict"], c["root_sums"].attrs["verdict"])
        for c in (parabola, ramp, constant)
    ]
    assert verdicts == [("converges", "converges"), ("grows", "converges"), ("grows", "grows")]
    assert float(orthogonal["outside"]) == pytest.approx(1.0)
    assert float(orthogonal["residual"]) == pytest.approx(np.sqrt(0.5))


def test_fronts_sharpen_beyond_every_grid():
    coarse, middle, fine = (sharp_fronts(nodes=n, horizon=20.0, times=161) for n in (32, 64, 128))
    early = (coarse["time"] > 0.5) & (coarse["time"] < 2.0)
    np.testing.assert_allclose(fine["slope"][early], fine["true_slope"][early], rtol=0.02)
    lost = [float(case["lost_at"]) for case in (coarse, middle, fine)]
    assert (lost[2] - lost[1]) / (lost[1] - lost[0]) == pytest.approx(
        2.0, abs=0.15
    )  # r h = const, r linear in t
    times = np.linspace(0.0, 200.0, 201)
    slope = true_slope(1.0, 0.1, times)
    assert slope[-1] - 2 * slope[-21] + slope[-41] == pytest.approx(
        400 * 4 / np.pi, rel=1e-3
    )  # r' -> 4 / pi
    small = true_slope(1.0, 1e-6, np.linspace(0.0, 1.0, 3))
    np.testing.assert_allclose(small, 1e-6 * np.exp([0.0, 0.5, 1.0]), rtol=1e-6)


def test_bad_parameters():
    for call, message in (
        (lambda: depth_convergence(coarsest=1), "coarsest must be >= 2"),
        (
            lambda: width_convergence(problem="square", coarsest=40, doublings=1),
            "more than 5000 nodes",
        ),
        (lambda: width_convergence(rule="Simpson", coarsest=3), "points must be odd"),
        (lambda: growth(times=4), "times must be odd"),
        (lambda: contractive(share=-1.0), "share must be 0 or between 0.01 and 4"),
        (lambda: contractive(share=1e-9), "share must be 0 or between 0.01 and 4"),
        (lambda: contractive(apart=0.0), r"apart must be in \(0, 2\]"),
        (lambda: steady_states(points=1), "points must be from 2 to 250"),
        (lambda: sharp_fronts(nodes=30), "nodes must be a multiple of 4"),
        (lambda: sharp_fronts(gain=0.0), "gain, start and horizon must be > 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


TINY = {
    "depth_convergence": (
        [{"method": ["Euler", "RK4"], "doublings": 2}, {"problem": "scalar decay", "doublings": 2}],
        {"moving_bias": r"Euler: 1\.0\d; RK4: (3\.9|4\.0)\d", "scalar_decay": r"Euler: 1\.0\d"},
    ),
    "width_convergence": (
        [
            {"rule": ["midpoint", "Gauss"], "coarsest": 8, "doublings": 2},
            {"problem": "jump", "diagonal": [0.0, 0.5]},
        ],
        {
            "line": r"midpoint: (1\.9|2\.0)\d; Gauss: \d\.\de-1\d reached",
            "jump": r"= 0: 0\.9\d; .*= 0\.5: 1\.9\d",
        },
    ),
    "growth": (
        [{"problem": ["linear", "exponential"], "horizon": 4.0, "times": 11}],
        {"growth": r"speed 0\.7007 .*rate 1\.0000"},
    ),
    "contractive": (
        [{"share": [0.0, 1.2], "horizon": 2.0}],
        {"distance": r"rate 4\.000.*factor 1\.400 a step"},
    ),
    "architectures": (
        [{"method": ["Euler", "RK4", "Radau IIA", "DOP853"], "doublings": 4}],
        {
            "cost": r"Euler: not reached; RK4: 32 products; Radau IIA: \d+ products; DOP853: 24 "
            r"products"
        },
    ),
    "conditioning": (
        [{"problem": ["decay", "shear"], "horizon": 1.0, "layers": 10}],
        {
            "propagators": r"0\.521057 at T; condition 1;.*shear 20: norm at most 5\.03, at",
            "gradients": r"0\.2\d+ and 0\.2\d+ at 20 and 40 layers.*a factor 2\.00\d+ for each",
        },
    ),
    "steady_states": (
        [{"bias": ["ramp", "orthogonal"], "points": 5}],
        {
            "sums": r"ramp: 5, 10, 20 \(grows\).*share 1 of",
            "solutions": r"ramp: .*orthogonal: .*7\.1e-01",
        },
    ),
    "selection": (
        [{"ratio": [0.4, 0.8], "nodes": 64, "starts": 4, "times": 21}],
        {
            "fates": r"rho = 0\.4: the second mode wins from 0 of 4 starts.*rho = 0\.8: the second "
            r"mode wins from 1 of 4 starts \(25%\)",
            "infinity": r"rho = 0\.8: 1\.117072 found by bisection, 1\.117072 from infinity",
            "fronts": r"64 nodes: unresolved from t = 3\.\d+ on.*within \d\.\de-1\d of each other",
        },
    ),
    "sharp_fronts": (
        [{"nodes": [16, 32], "horizon": 8.0, "times": 33}],
        {"fronts": r"16 nodes: lost at t = 3\.\d+; 32 nodes: lost at t = 5\.5"},
    ),
}


@pytest.mark.parametrize("name", TINY)
def test_pictures_of_tiny_cases(name, tmp_path):
    check_pictures(name, *TINY[name], tmp_path)


def test_a_picture_of_nothing_but_a_bias_outside_the_range(tmp_path):
    study = find_study("liu_markowich/steady_states")
    done = run_sweep(study, [{"bias": "orthogonal", "points": 4}], tmp_path, progress="none")
    assert study.plot is not None
    sums, _ = study.plot([read_case(path) for path in done.paths])
    assert "orthogonal: left out" in sums.caption
    assert not any(ax.lines for ax in sums.figure.axes)
