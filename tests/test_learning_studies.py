"""The studies of the learning problem: each on a tiny case, against the ledger, and their
figures.
"""

import numpy as np
import pytest
from pictures import check_pictures
from scipy.optimize import brentq

from continuum import TimeMesh, gauss_legendre
from solvers import Euler, discretize
from studies import catalogue
from studies.bench.registry import claims
from studies.bench.verify import check
from studies.liu_markowich.bang_bang import bang_bang
from studies.liu_markowich.box_against_tikhonov import box_against_tikhonov
from studies.liu_markowich.choice_of_lambda import choice_of_lambda, curvature, regression
from studies.liu_markowich.gradient_accuracy import closed_form, gradient_accuracy
from studies.liu_markowich.many_extremals import many_extremals
from studies.liu_markowich.msa_cycle import msa_cycle
from studies.liu_markowich.pam_monotone import pam_monotone
from studies.liu_markowich.paper import boxed
from studies.shared import UNIT


@pytest.mark.parametrize("problem", ["scalar", "rank one"])
@pytest.mark.parametrize(
    ("method", "order"), [("Euler", 1), ("Heun", 2), ("RK4", 4), ("implicit midpoint", 2)]
)
def test_orders_of_both_gradients(problem, method, order):
    case = gradient_accuracy(problem=problem, method=method, coarsest=16, doublings=1)
    for kind in ("discrete", "continuous", "mutual"):
        assert float(case[f"{kind}_order"]) == pytest.approx(order, abs=0.1)
        assert float(case[f"{kind}_error"][-1]) < {1: 0.02, 2: 2e-4, 4: 2e-8}[order]


def test_closed_forms_of_the_gradient():
    """Means over short layers, at the times and positions of LM-44 and LM-43."""
    mesh = TimeMesh(1.0, 2001)
    space = boxed([0.0], [0.0], grid=gauss_legendre(UNIT, 1)).network.controls(mesh)
    scalar = closed_form("scalar", space, np.array([0.5]))
    assert scalar["bias"][1000, 0] == pytest.approx(0.1903541845752849, abs=1e-7)
    assert scalar["kernel"][1000, 0, 0] == pytest.approx(-0.1262272071705538, abs=1e-7)
    space = boxed([0.0, 0.0], [0.0, 0.0]).network.controls(mesh)
    linear = closed_form("rank one", space, np.array([0.5, 0.25]))
    assert linear["bias"][1000, 0] == pytest.approx(0.4971168798997621, abs=1e-7)
    assert linear["kernel"][1000, 0, 1] == pytest.approx(-0.2634880151068972, abs=1e-7)


def test_a_line_search_stalls_with_the_gradient_of_the_continuum():
    """It ends O(tau^2) above the minimum for Euler: its gradient vanishes O(tau) away."""
    ends = []
    for layers in (8, 16):
        case = gradient_accuracy(method="Euler", coarsest=layers, doublings=1)
        left = {
            k: case[f"{k}_descent"].dropna("iteration").values for k in ("discrete", "continuous")
        }
        assert case["discrete_descent"].attrs["ended"] == "CONVERGED"
        assert case["continuous_descent"].attrs["ended"] == "LINE_SEARCH_FAILED"
        assert left["discrete"][-1] < 1e-13
        ends.append(left["continuous"][-1])
    assert ends[0] / ends[1] == pytest.approx(4.0, rel=0.3)
    fine = gradient_accuracy(method="RK4", coarsest=8, doublings=1)
    assert fine["continuous_descent"].attrs["ended"] == "CONVERGED"


def test_the_switching_problem():
    case = bang_bang(layers=12)
    np.testing.assert_allclose(case["switching_time"], [0.5364562503929055], rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        case["final"], [2.753850371773439, 0.3759592055367086], rtol=0, atol=1e-9
    )
    assert float(case["objective"]) == pytest.approx(0.4235585550392474, abs=1e-9)
    np.testing.assert_allclose(-case["hamiltonian"], 2.080277357719554, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        -case["costate"][0], [2.197905988694671, 0.575797154931401], rtol=0, atol=1e-8
    )
    early = case["control"].values[case["time"].values[1:] < 0.53]
    late = case["control"].values[case["time"].values[:-1] > 0.54]
    assert np.all(early == [1, 1, -1, -1, -1, -1])
    assert np.all(late == [1, -1, -1, -1, 1, 1])
    # between the steps, m' = 1 + m and both blocks move at that speed
    t, f = case["fine_time"].values, case["path"].values
    p = case["costate_path"].values
    up = t <= 0.53
    np.testing.assert_allclose(
        f[up], np.stack([1.5 * np.exp(t[up]) - 1] * 2, axis=1), rtol=0, atol=1e-10
    )
    speed = np.abs(p).sum(axis=1) / 2 * (1 + np.abs(f).sum(axis=1) / 2)
    np.testing.assert_allclose(speed, 2.080277357719554, rtol=0, atol=1e-8)  # the Hamiltonian
    assert 1e-6 < float(case["direct_objective"] - case["objective"]) < 2e-3


def test_layers_come_close_to_the_switching_problem():
    """The ledger's multistart on 60 layers gives 0.4235955; the descent here ends 1.4e-7 lower."""
    assert float(bang_bang(layers=60)["direct_objective"]) == pytest.approx(0.4235955, abs=2e-7)


def test_extremals_and_the_ridge_between_them():
    case = many_extremals(layers=12, starts=4, points=9, seed=1)
    best, worst = 0.1311701244888148, 1.642801471258288
    np.testing.assert_allclose(case["objective"], [best, worst, best], rtol=0, atol=1e-8)
    assert float(case["switching_time"]) == pytest.approx(1.343774624663928, abs=1e-8)
    np.testing.assert_allclose(
        case["final"][0], [5.349117123596675, 0.31785528021443], rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(
        case["final"][2], [5.349117123596675, -0.31785528021443], rtol=0, atol=1e-8
    )
    landscape = case["landscape"].values
    assert np.argmax(landscape) == 4
    assert landscape[4] == pytest.approx(worst, abs=1e-5)
    np.testing.assert_allclose(landscape, landscape[::-1], rtol=0, atol=1e-8)
    # random starts end at a switching control, zero on the singular arc; the sign of block 2 counts
    # or not
    assert case["clusters"].values[-1] == pytest.approx(worst, abs=1e-5)
    assert case["counts"].values[-1] == 1
    assert case.sizes["cluster"] == 3
    np.testing.assert_allclose(
        case["folded_clusters"], [case["clusters"].values[0], worst], rtol=0, atol=1e-5
    )
    np.testing.assert_array_equal(case["folded_counts"], [3, 1])
    assert best < case["clusters"].values[0] < best + 0.005
    assert int(case["failed"]) == 0


def test_the_cycles_of_successive_approximation():
    one = msa_cycle(problem="one unit", layers=4, iterations=6)
    np.testing.assert_allclose(
        one["objective"][:4], [1 / 8, 1 / 8, 9 / 8, 1 / 8], rtol=0, atol=1e-15
    )
    two = msa_cycle(layers=400, iterations=6)
    np.testing.assert_allclose(
        two["objective"][:4], [3.125, 1.25, 2.028779530607419, 1.25], rtol=0, atol=3e-4
    )
    assert one.attrs["ended"] == two.attrs["ended"] == "two cycle"
    assert float(one["best"]) == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize(
    ("remedy", "strength", "objectives"),
    [
        ("augmented", 2.0, [1 / 8, 1 / 32, 1 / 128]),
        ("augmented", 1.0, [1 / 8, 0.0, np.nan]),
        ("augmented", 0.4, [1 / 8, 1 / 8, 9 / 32]),
        ("share", 0.5, [1 / 8, 0.0, np.nan]),
        ("search", 1.0, [1 / 8, 0.0, np.nan]),
        ("adaptive", 1.0, [1 / 8, 0.0, np.nan]),
    ],
)
def test_remedies_of_one_unit(remedy, strength, objectives):
    case = msa_cycle(problem="one unit", remedy=remedy, strength=strength, layers=4, iterations=4)
    np.testing.assert_allclose(case["objective"][:3], objectives, rtol=0, atol=1e-7)


def test_remedies_of_two_blocks_descend():
    for case in (
        msa_cycle(remedy="search", layers=20, iterations=8),
        msa_cycle(remedy="augmented", layers=20, iterations=8),
        msa_cycle(remedy="adaptive", layers=20, iterations=8),
    ):
        assert np.all(np.diff(case["objective"]) < 0)
    assert (
        np.max(
            np.diff(
                msa_cycle(remedy="augmented", strength=0.3, layers=20, iterations=8)["objective"]
            )
        )
        > 0.1
    )


def test_the_inequality_of_algorithm_1():
    first = pam_monotone(iterations=1, layers=32)
    np.testing.assert_allclose(first["objective"], [0.5, 0.011958235969877], rtol=0, atol=1e-5)
    assert float(first["after_bias"][1]) == pytest.approx(0.125, abs=1e-9)
    assert float(first["bound"][1]) == pytest.approx(0.34513, abs=2e-5)
    np.testing.assert_allclose(first["bias"], 0.5, rtol=0, atol=1e-8)
    for step in (0.25, 1.0, 4.0):
        case = pam_monotone(problem="bias alone", step=step, horizon=2.0, iterations=4, layers=3)
        assert float(case["rate"]) == pytest.approx(1 / (1 + 2 * step), rel=1e-8)
        k = np.arange(5)
        np.testing.assert_allclose(case["objective"], 0.5 * (1 + 2 * step) ** (-2.0 * k), rtol=1e-7)
        decrease = -np.diff(case["objective"])
        promised = case["objective"].values[:-1] - case["bound"].values[1:]
        np.testing.assert_allclose(
            promised / decrease, 1 / (2 + 2 * step), rtol=1e-6
        )  # by hand, from the factor


def test_box_and_penalty():
    """On the ray of f(0) the penalised problem has a closed form (LM-50); the box alone is
    LM-54.
    """
    gamma, size, strength = 3.0, 0.5, 0.1
    theta = np.linspace(np.arcsinh(size), 1.5, 400001)
    exact = np.min(
        0.5 * (gamma * size - np.sinh(theta)) ** 2 + strength * (theta - np.arcsinh(size)) ** 2
    )
    values = []
    for layers in (8, 16):
        case = box_against_tikhonov(
            constraint="Tikhonov", strength=strength, target_1=1.5, target_2=1.5, layers=layers
        )
        values.append(float(case["objective"]))
        assert values[-1] == pytest.approx(
            float(case["misfit"]) + strength * float(case["norm"]) ** 2, rel=1e-12
        )
    assert (4 * values[1] - values[0]) / 3 == pytest.approx(exact, abs=1e-7)
    box = box_against_tikhonov(layers=60)
    assert float(box["objective"]) == float(box["misfit"]) == pytest.approx(0.4235955, abs=2e-7)
    assert float(box["largest"]) == 1.0
    free, both = (
        box_against_tikhonov(constraint=c, strength=0.2, layers=16) for c in ("Tikhonov", "both")
    )
    assert float(free["largest"]) > 1.5
    assert float(both["largest"]) == 1.0
    assert float(free["objective"]) < float(both["objective"])


def test_curvature_of_a_known_curve():
    """(log misfit, log size) on a circle of radius 2, and with its corner where the angle turns."""
    s = np.geomspace(1e-2, 1.0, 41)
    angle = np.pi + np.log(s / s[0]) / np.log(s[-1] / s[0]) * np.pi / 2
    found = curvature(s, np.exp(2 * np.cos(angle)), np.exp(2 * np.sin(angle)))
    np.testing.assert_allclose(found[2:-2], 0.5, rtol=1e-3)
    assert np.all(np.isnan(found[[0, 1, -2, -1]]))
    x = np.linspace(-3.0, 3.0, 31)
    bent = curvature(np.exp(x), np.exp(np.logaddexp(0.0, 4 * x)), np.exp(np.logaddexp(0.0, -4 * x)))
    assert np.nanargmax(bent) == 15


def test_choices_of_the_strength():
    """One layer is linear in the control: ridge regression on tanh(4 (x - c)) and 1, in closed
    form.
    """
    settings = {
        "samples": 12,
        "folds": 3,
        "strengths": 7,
        "weakest": 1e-3,
        "strongest": 1.0,
        "layers": 1,
        "seed": 3,
    }
    case = choice_of_lambda(**settings)
    strengths = case["strength"].values
    np.testing.assert_allclose(strengths, np.geomspace(1e-3, 1.0, 7), rtol=1e-12)
    x, y = case["x"].values, case["y"].values

    def features(x):
        return np.concatenate(
            [np.tanh(4 * (x[:, None] - np.linspace(-1, 1, 8))), np.ones((len(x), 1))], axis=1
        )

    phi, fine = features(x), features(case["fine_x"].values)
    ridges = [
        np.linalg.solve(phi.T @ phi / 12 + 2 * s * np.eye(9), phi.T @ y / 12) for s in strengths
    ]
    np.testing.assert_allclose(
        case["misfit"], [np.mean((phi @ c - y) ** 2) / 2 for c in ridges], rtol=2e-3
    )
    np.testing.assert_allclose(case["size"], [c @ c for c in ridges], rtol=2e-3)
    truth = np.sin(3 * case["fine_x"].values)
    np.testing.assert_allclose(
        case["true_error"], [np.mean((fine @ c - truth) ** 2) / 2 for c in ridges], rtol=5e-3
    )
    for name, best in (
        ("validated", np.argmin(case["validation"].values)),
        ("corner", np.nanargmax(case["curvature"].values)),
    ):
        assert float(case[name]) == strengths[best]
        np.testing.assert_allclose(case[f"{name}_fit"], fine @ ridges[best], rtol=0, atol=1e-2)

    def ridge(s):
        return np.linalg.solve(phi.T @ phi / 12 + 2 * s * np.eye(9), phi.T @ y / 12)

    def residual(s):
        return np.mean((phi @ ridge(s) - y) ** 2) ** 0.5

    # Morozov's strength, to which the residual is held within 1e-3
    level = 1.1 * 0.3
    low, high = (brentq(lambda s, f=f: residual(s) - f * level, 1e-3, 1.0) for f in (0.998, 1.001))
    chosen = float(case["discrepancy"])
    assert low < chosen < high
    assert float(case["level"]) == pytest.approx(level, rel=1e-15)
    assert float(case["discrepancy_misfit"]) == pytest.approx(0.5 * level**2, rel=2.1e-3)
    assert float(case["discrepancy_misfit"]) <= 0.5 * level**2
    assert chosen not in strengths
    np.testing.assert_allclose(case["discrepancy_fit"], fine @ ridge(chosen), rtol=0, atol=1e-2)
    assert float(case["discrepancy_error"]) == pytest.approx(
        np.mean((fine @ ridge(chosen) - truth) ** 2) / 2, rel=5e-3
    )
    assert np.all(case["validation"] > case["misfit"])
    assert case.identical(choice_of_lambda(**settings))
    assert not np.array_equal(choice_of_lambda(**{**settings, "seed": 4})["y"], y)


def test_the_regression_starts_from_its_inputs():
    problem = regression(np.array([0.5, -1.0]), np.array([1.0, 3.0]), 3)
    assert discretize(problem, Euler()).value(problem.space.zeros()) == pytest.approx(
        (0.5 + 4.5) / 2
    )
    np.testing.assert_allclose(problem.initial[1], [6.0, 0.0])


@pytest.mark.parametrize("id", ["LM-62", "LM-63", "LM-64", "LM-65"])
def test_claims_on_algorithms(id):
    catalogue.load()
    (claim,) = (c for c in claims("liu_markowich") if c.id == id)
    for row in check(claim):
        assert row.passed, row


SMALL = {"samples": 6, "folds": 2, "strengths": 7, "weakest": 1e-3, "layers": 1}


def test_bad_parameters():
    for call, message in (
        (lambda: gradient_accuracy(coarsest=1), "coarsest must be >= 2"),
        (lambda: gradient_accuracy(strength=0.0), "strength must be > 0"),
        (lambda: bang_bang(layers=1), "layers must be >= 2"),
        (lambda: many_extremals(layers=2), "layers must be from 6 to 400"),
        (lambda: many_extremals(starts=1), "starts from 2 to 200"),
        (lambda: msa_cycle(iterations=1), "iterations must be >= 2"),
        (lambda: msa_cycle(remedy="share", strength=1.5), "at most 1 for a share"),
        (lambda: pam_monotone(step=0.0), "step and horizon must be > 0"),
        (lambda: box_against_tikhonov(constraint="both", strength=0.0), "strength must be > 0"),
        (lambda: choice_of_lambda(folds=1), "folds must be from 2 to the number of samples, 30"),
        (lambda: choice_of_lambda(strengths=3), "strengths must be >= 7"),
        (lambda: choice_of_lambda(noise=-1.0), "noise must be >= 0"),
        (lambda: choice_of_lambda(noise=np.nan), "noise must be >= 0"),
        (lambda: choice_of_lambda(strongest=np.inf), "0 < weakest < strongest, finite"),
        (  # the minimisers are one, and the L-curve a point
            lambda: choice_of_lambda(12, strengths=7, layers=1, weakest=1e-5, strongest=1e-4),
            "strengths contain no discrepancy level: at the strongest, 0.0001",
        ),
        (lambda: choice_of_lambda(eta=1.0), "eta must be > 1"),
        (
            lambda: choice_of_lambda(**SMALL, noise=0.0),
            "strengths contain no discrepancy level: the residual is .* at the weakest, 0.001",
        ),
        (
            lambda: choice_of_lambda(**SMALL, noise=5.0, eta=20.0),
            "no discrepancy level: at the strongest, 1, .* still at most eta times the noise, 100",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


TINY = {
    "gradient_accuracy": (
        [
            {"method": ["Euler", "RK4"], "coarsest": 8, "doublings": 1},
            {"problem": "rank one", "doublings": 1},
        ],
        {
            "errors_scalar": r"discretise, then optimise: Euler (0\.9|1\.0)\d, RK4 4\.0\d; "
            r"optimise",
            "errors_rank_one": r"the two, apart: Euler 1\.0\d",
            "descent": r"Euler, optimise, then discretise: line search failed at J - min J = "
            r"\d\.\de-06",
        },
    ),
    "bang_bang": (
        [{"layers": 12}],
        {"extremal": r"times 0\.53645625\d\. J = 0\.42355855\d\d by .* on 12 layers"},
    ),
    "many_extremals": (
        [{"layers": 8, "starts": 3, "points": 5}],
        {
            "extremals": r"switching 0\.131170\d+, singular arc 1\.642801\d+.*2\. J = 1\.64\d+ "
            r"from 1 st.* [23] ends"
        },
    ),
    "solution_counts": (
        [{"layers": 6, "starts": 1, "last": 1.0}],
        {
            "counts": r"6 Euler layers: subcritical pitchfork at T = 0\.7\d+ \(of the equation "
            r"0\.7150077\).*1, 5, 3; of .* 1, 5, 3\. 1 random starts at each of 9"
        },
    ),
    "msa_cycle": (
        [
            {
                "problem": ["one unit", "two blocks"],
                "remedy": ["none", "search"],
                "layers": 8,
                "iterations": 5,
            }
        ],
        {
            "objective": r"one unit: no remedy: two cycle, J from 0\.1250 to 0\.1250 and 1\.1250 "
            r"in turn; line search"
        },
    ),
    "pam_monotone": (
        [
            {
                "problem": ["bias and kernel", "bias alone"],
                "step": [1.0, 4.0],
                "iterations": 3,
                "layers": 4,
            }
        ],
        {
            "bias_and_kernel": r"tau = 1: J = 0\.01\d+ after one",
            "bias_alone": r"times 0\.500000, theory 0\.500000",
        },
    ),
    "box_against_tikhonov": (
        [
            {"constraint": "box", "layers": 8},
            {"constraint": ["Tikhonov", "both"], "strength": 0.2, "layers": 8},
        ],
        {
            "controls": r"box: \|c\| = 1\.4\d+, largest entry 1\.0000; Tik",
            "states": r"Tikhonov, lambda = 0\.2: J = 0\.37",
        },
    ),
    "choice_of_lambda": (
        [{"samples": 10, "folds": 2, "strengths": 7, "weakest": 1e-2, "layers": 1}],
        {
            "choice": r"seed 0, noise 0\.3: corner \d\.\de-0\d \(true error \d\.\de-0\d\), "
            r"validation"
        },
    ),
}


@pytest.mark.parametrize("name", TINY)
def test_pictures_of_tiny_cases(name, tmp_path):
    check_pictures(name, *TINY[name], tmp_path)
