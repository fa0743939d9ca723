"""Bad arguments are refused in the package's own words, which name them."""

import numpy as np
import pandas as pd
import pytest
from fuzz import RETURNED, SLOW, attempt, bounded, fuzz, table
from fuzz_calls import doors, good_arguments
from fuzz_commands import fuzz as fuzz_commands
from fuzz_commands import table as table_of_lines

from continuum import (
    Box,
    Interval,
    LearnedField,
    LearningProblem,
    NeuralODE2,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    from_residual_mlp,
    gauss_legendre,
    tanh,
)
from continuum.checks import check_name
from continuum.doors import checked
from solvers import LBFGS, RK4, Euler, integrate, minimize, observed_orders
from studies import find_study

NETWORK = NeuralODE2(2, tanh)
MESH = TimeMesh(1.0, 3)
PROBLEM = LearningProblem(NETWORK, np.ones((2, 1)), np.ones((2, 1)), MESH)


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
        (
            lambda: minimize(PROBLEM, LBFGS(), initial=np.zeros(18)),
            TypeError,
            "initial must be a Control or None, got an array of shape (18,) and dtype float64: "
            "space.unflatten(...) makes one of a vector",
        ),
        (
            lambda: LearningProblem(NETWORK, np.ones((2, 1)), np.ones((2, 1)), MESH, penality=None),
            TypeError,
            "unknown argument of LearningProblem, 'penality'. Did you mean 'penalty'? There are",
        ),
        (
            lambda: integrate(NETWORK, NETWORK.control(MESH), np.ones((2, 1)), RK4(), save="layer"),
            ValueError,
            "Did you mean 'layers'? Accepted: 'final', 'layers', 'steps'. Or an array or a "
            "sequence of numbers.",
        ),
        (
            lambda: integrate(NETWORK, NETWORK.control(MESH), np.ones((2, 1)), RK4(), monitors=1),
            TypeError,
            "monitors must be a sequence of Monitors, got 1",
        ),
        (
            lambda: LearningProblem(NETWORK, np.ones((2, 3)), np.ones(3), MESH),
            ValueError,
            "target has shape (3,), expected (2, 3)",
        ),
        (
            lambda: from_residual_mlp(np.ones((3, 2)), None, np.ones((2, 3)), None, tanh),
            ValueError,
            "W1 has shape (3, 2), expected (L, h, d); for a single one write W1[None]",
        ),
        (lambda: find_study("liu_markowich/resnet_limti"), ValueError, "There are "),
        (lambda: PROBLEM.space.sample(bias="0"), TypeError, "bias must be real numbers"),
        (lambda: PROBLEM.space.sample(bias=True), TypeError, "bias must be a real number, got Tr"),
        (lambda: NETWORK.control(MESH, bias=1j), TypeError, "bias must be"),
        (
            lambda: gauss_legendre(Interval(0, 1), 4).sample(np.ones(4)),
            TypeError,
            "function 0 must be a real number, got an array of shape (4,)",
        ),
        (lambda: PROBLEM.holding(PROBLEM.space.zeros(), {1.0}), TypeError, "names must be a str"),
    ],
)
def test_the_argument_is_named(door, error, words):
    with pytest.raises(error) as caught:
        door()
    assert words in str(caught.value)


def test_what_holds_numbers_is_taken():
    """Tables of pandas, with its own kinds of integers too, lists, integers of NumPy."""
    numbers = [[0, 1, 2], [3, 4, 5]]
    whole = LearningProblem(NETWORK, np.array(numbers, float), np.ones((2, 3)), MESH)
    table = pd.DataFrame(numbers)
    for given in (numbers, np.array(numbers), table, table.convert_dtypes(), table.astype(object)):
        problem = LearningProblem(NETWORK, given, np.ones((2, 3)), MESH)
        assert problem.initial.dtype == np.float64
        np.testing.assert_array_equal(problem.initial, whole.initial)
    column = pd.Series([1.0, 2.0])
    space = NETWORK.controls(MESH)
    np.testing.assert_array_equal(space.sample(bias=column)["bias"], [[1.0, 2.0]] * 3)
    assert observed_orders(pd.Series([2, 4]), column[::-1]) == [1.0]
    assert LearnedField(2, 2, pd.Series([3]), tanh).hidden == (3,)
    assert Box(bias=np.array([-1, 1])).bounds == {"bias": (-1.0, 1.0)}
    assert TimeMesh(np.float32(1.0), np.int16(3)) == MESH
    for wrong in (table.replace(5, pd.NA), table.replace(5, "x"), [[True, False, None]] * 2):
        with pytest.raises(TypeError, match="each entry of initial must be a real number"):
            LearningProblem(NETWORK, wrong, np.ones((2, 3)), MESH)


def test_names_near_and_far():
    names = [f"name{i}" for i in range(30)]
    with pytest.raises(
        ValueError, match=r"^unknown thing 'nme3'. Did you mean 'name3'\? There are 30"
    ) as few:
        check_name("thing", "nme3", names, "`continuum list`")
    assert str(few.value).endswith("There are 30: `continuum list` lists them.")
    with pytest.raises(ValueError, match=r"'name19', and 10 more: `continuum list` lists them\.$"):
        check_name("thing", "spam", names, "`continuum list`")
    with pytest.raises(ValueError, match=r"Did you mean 'ab'\? Accepted: 'ab', 'cd'\.$"):
        check_name("thing", "a", ["ab", "cd"])


def test_good_calls_return():
    """Of doors added lately; `make fuzz` calls all of them."""
    for name in ("from_torch", "from_residual_mlp", "to_torch_state", "open_sweep", "ode_test"):
        with bounded():
            (found,) = [full for full in doors() if full.endswith(f".{name}")]
            outcome = attempt(doors()[found], good_arguments(found, doors()[found]), limited=False)
        assert outcome[0] == RETURNED, (name, outcome)


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
    assert type(door(1.0, np.int64(2))[1]) is int  # type: ignore[index]
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
