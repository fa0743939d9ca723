"""Bad arguments are refused in the package's own words, which name them."""

import numpy as np
import pytest
from fuzz import SLOW, bounded, fuzz, table
from fuzz_commands import fuzz as fuzz_commands
from fuzz_commands import table as table_of_lines

from continuum import (
    Interval,
    LearningProblem,
    NeuralODE2,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from continuum.doors import checked
from solvers import LBFGS, Euler, integrate, minimize

NETWORK = NeuralODE2(2, tanh)
MESH = TimeMesh(1.0, 3)


@pytest.mark.filterwarnings("default")
def test_two_thousand_calls_with_bad_arguments():
    """A slice of `make fuzz`."""
    with bounded():
        results = list(fuzz(2000, seed=1))
    defects = [result for result in results if result.defect and result.outcome != SLOW]
    assert not defects, table(defects, show=3)  # where loops are to be compiled, calls take long


def test_command_lines_that_are_wrong():
    with bounded():
        results = list(fuzz_commands(120, seed=1))
    assert not any(result.defect for result in results), table_of_lines(results, show=3)


@pytest.mark.parametrize(
    ("door", "error", "words"),
    [
        (lambda: TimeMesh("1.0", 3), TypeError, "horizon must be a real number, got '1.0'"),
        (lambda: TimeMesh(True, 3), TypeError, "horizon must be a real number, got True"),
        (lambda: TimeMesh(10**400, 3), ValueError, "horizon must be at most 1.8e308"),
        (lambda: TimeMesh(1.0, 10**400), ValueError, "layers must be"),
        (
            lambda: NeuralODE2(2, np.tanh),
            TypeError,
            "activation must be an Activation such as tanh",
        ),
        (
            lambda: WidthDepth(Interval(0, 1), tanh),
            TypeError,
            "grid must be a Grid such as gauss_legendre(Interval(0, 1), 16), got Interval",
        ),
        (lambda: gauss_legendre(Interval, 3), TypeError, "got the class Interval"),
        (
            lambda: integrate(NETWORK, NETWORK.control(MESH), np.ones((2, 1)), Euler),
            TypeError,
            "stepper must be a Stepper such as RK4(), got the class Euler",
        ),
        (
            lambda: integrate(MESH, NETWORK.control(MESH), np.ones((2, 1)), Euler()),
            TypeError,
            "network must be a Network such as NeuralODE2(2, tanh), got TimeMesh",
        ),
        (
            lambda: LearningProblem(NETWORK, np.ones((2, 1)), np.ones((2, 1)), MESH, penalty=0.1),
            TypeError,
            "penalty must be a Penalty such as Tikhonov(0.1) or None, got 0.1",
        ),
        (lambda: minimize(NETWORK, LBFGS()), TypeError, "objective must be a LearningProblem"),
        (lambda: Tikhonov("0.1"), TypeError, "got '0.1'"),
    ],
)
def test_the_argument_is_named(door, error, words):
    with pytest.raises(error) as caught:
        door()
    assert words in str(caught.value)


def test_checked_functions():
    @checked
    def door(
        a: float, b: int = 2, *rest: float, numbers: np.ndarray | None = None, **more: str
    ) -> object:
        """A door."""
        return a, b, rest, numbers, more

    assert door(1, 2, 3, 4.5, c="x") == (1.0, 2, (3.0, 4.5), None, {"c": "x"})
    np.testing.assert_array_equal(door(1.0, numbers=[1, 2])[3], [1, 2])  # type: ignore[index]
    assert door.__doc__ == "A door."
    for call, words in (
        (lambda: door(1j), "a must be a real number"),  # type: ignore[arg-type]
        (lambda: door(10**400), "a must be at most 1.8e308"),
        (lambda: door(1.0, 2.0), "b must be an integer"),  # type: ignore[arg-type]
        (lambda: door(1.0, 2, "x"), "rest must be a real number"),  # type: ignore[arg-type]
        (lambda: door(1.0, numbers="x"), "numbers must be an array or None"),  # type: ignore[arg-type]
        (lambda: door(1.0, numbers=np.ones(2) * 1j), "numbers must be real numbers, got dtype"),
        (lambda: door(1.0, c=3), "c must be a string"),  # type: ignore[arg-type]
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            call()
