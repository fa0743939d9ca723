"""The scripts of the README, run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest

from solvers import Euler, Status, integrate

README = (Path(__file__).parent.parent / "README.md").read_text()
SCRIPTS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def names():
    """Everything the scripts define, run one after the other."""
    defined: dict = {}
    for script in SCRIPTS:
        exec(compile(script, "README.md", "exec"), defined)
    return defined


def test_forward_script(names):
    assert len(SCRIPTS) == 3
    assert names["grid"].nodes.shape == (64, 1)
    assert names["grid"].weights.shape == (64,)
    assert names["flow"].trajectory.final.shape == names["initial"].shape == (64, 1)
    assert names["flow"].value is names["flow"].trajectory
    layers = names["ResNet"].from_control(names["network"], names["control"])(names["initial"])
    steps = integrate(
        names["network"], names["control"], names["initial"], Euler()
    ).trajectory.final
    np.testing.assert_allclose(layers, steps, rtol=0, atol=1e-13)


def test_training_script(names):
    problem, best = names["problem"], names["best"]
    assert best.status is Status.CONVERGED
    assert best.control["kernel"].shape == (20, 64, 64)
    assert problem.admissible.contains(best.control, 1e-12)
    judged = names["evaluate"](problem, best.control)
    assert judged.feasible
    assert judged.depth_error <= 1e-8 * judged.objective
    assert (
        abs(judged.resnet - best.objective) <= 1e-14
    )  # what was minimised is the ResNet's objective, exactly
    gap = abs(judged.objective - judged.resnet)  # the price of twenty layers
    assert 1e-6 < gap < 0.05 * judged.objective
    objective, gradient = names["objective"], names["gradient"]
    step = 1e-5 * (1 / problem.space.norm(gradient)) * gradient
    slope = (objective.value(best.control + step) - objective.value(best.control - step)) / 2
    assert slope == pytest.approx(problem.space.inner(gradient, step), rel=1e-6)


def test_lyapunov_script(names):
    trained, bound, run = names["trained"], names["bound"], names["run"]
    assert trained.status is Status.ITERATED
    assert trained.objective < 0.2 * trained.history["objective"][0]
    assert run.status is Status.SETTLED
    assert run.history["pseudo_time"][-1] <= bound.time


def test_the_two_commands_come_first():
    assert README.split("```")[1].split()[:2] == ["make", "demo"]
    assert "make test " in README.split("```")[1]
