"""One problem by many methods: the table ranks them on the continuous problem, and knows mirror
images.
"""

import numpy as np
import pytest

from continuum import (
    Interval,
    LearningProblem,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    tanh,
)
from solvers import LBFGS, GradientDescent, compare, evaluate, minimize, shoot, symmetries
from studies.liu_markowich.paper import boxed

PROBLEM = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0, layers=60)


def pushed(push: float):
    """The zero control for push = 0, else one that moves block 2 that way and back."""
    early = np.arange(60) < 40
    kernel = np.zeros((60, 2, 2))
    kernel[:, 0, 0], kernel[:, 0, 1] = -0.9, -push
    kernel[:, 1, 0], kernel[:, 1, 1] = (
        np.where(early, -push, push),
        np.where(early, -abs(push), abs(push)),
    )
    bias = np.stack([np.full(60, 0.9), np.where(early, push, -push)], axis=1)
    return PROBLEM.space.sample(bias=bias, kernel=kernel)


METHODS = {
    name: (lambda p, push=push: shoot(p, initial=pushed(push)))
    for name, push in (("at rest", 0.0), ("up", 1.0), ("down", -1.0))
}


def test_both_kinds_of_extremal_are_listed_and_ranked():
    """LM-55: J = 0.1311701244888148 twice, mirror images, before 1.642801471258288 on the singular
    arc.
    """
    table = compare(
        PROBLEM, METHODS, symmetries=symmetries(PROBLEM, units={0: [1]}, exchanges=False)
    )
    assert [a.cluster for a in table.attempts] == [0, 0, 1]
    assert table.attempts[2].name == "at rest"
    assert table.best.solution.objective == pytest.approx(0.1311701244888148, abs=1e-8)
    assert table.best.objective == pytest.approx(0.13117, abs=3e-4)  # its averages over 60 layers
    assert table.attempts[2].objective == pytest.approx(1.642801471258288, abs=1e-8)
    assert table.attempts[2].certificate.singular_arcs
    assert table.attempts[2].certificate.total_gap < 1e-8
    apart = compare(PROBLEM, METHODS)
    assert sorted(a.cluster for a in apart.attempts) == [0, 1, 2]
    lines = str(table).splitlines()
    assert lines[0].split()[:2] == ["method", "J"]
    assert lines[3].startswith("at rest")
    assert "CONVERGED_SHOOTING" in lines[1]


def test_failed_and_odd_methods():
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=10)
    table = compare(
        problem, {"few": GradientDescent(gtol=1e-9, max_iterations=2), "many": LBFGS(gtol=1e-5)}
    )
    assert [a.name for a in table.attempts] == ["many", "few"]
    assert not table.attempts[1].solution.status.ok
    with pytest.raises(TypeError, match=r"methods\['x'\] must be a Minimizer such as LBFGS"):
        compare(problem, {"x": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="at least one method"):
        compare(problem, {})


def test_width_error_falls_with_the_square_of_the_nodes():
    errors = []
    for nodes in (8, 16, 32):
        grid = midpoint(Interval(0, 1), nodes)
        initial, target = grid.sample(lambda y: np.cos(np.pi * y)), grid.sample(lambda y: y)
        problem = LearningProblem(
            WidthDepth(grid, tanh), initial, target, TimeMesh(1.0, 4), penalty=Tikhonov(0.1)
        )
        control = problem.space.sample(
            bias=lambda y, t: np.sin(3 * y + t), kernel=lambda y, z: np.cos(y - 2 * z)
        )
        finer = midpoint(Interval(0, 1), 8 * nodes)
        judged = evaluate(problem, control, refined=finer)
        fine = LearningProblem(
            WidthDepth(finer, tanh),
            finer.sample(lambda y: np.cos(np.pi * y)),
            finer.sample(lambda y: y),
            TimeMesh(1.0, 4),
            penalty=Tikhonov(0.1),
        )
        exact = evaluate(
            fine,
            fine.space.sample(
                bias=lambda y, t: np.sin(3 * y + t), kernel=lambda y, z: np.cos(y - 2 * z)
            ),
        )
        errors.append(judged.width_error)
        assert (
            1.0 < judged.width_error / abs(judged.objective - exact.objective) < 10.0
        )  # safe, by interpolation
    assert 3.0 < errors[0] / errors[1] < 5.0
    assert 3.0 < errors[1] / errors[2] < 5.0
    assert np.isnan(evaluate(problem, control).width_error)


def test_a_reached_target_has_no_certificate():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 1), identity)
    problem = LearningProblem(network, np.zeros((1, 1)), np.full((1, 1), 0.5), TimeMesh(1.0, 4))
    table = compare(
        problem,
        {"L-BFGS": lambda p: minimize(p, LBFGS(gtol=1e-12), initial=p.space.sample(bias=0.5))},
    )
    assert "no certificate: the costate vanishes at every time" in str(table)
