"""Studies, their parameters, and claims."""

import json
import math
import re
from typing import Annotated, Any

import numpy as np
import pytest
import xarray as xr
from annotated_types import Gt, Interval, Le, MultipleOf
from pydantic import Field
from studies_toys import decay, empty_registry, register
from threadpoolctl import threadpool_info, threadpool_limits

from studies import catalogue
from studies.bench.parameters import label, varying
from studies.bench.registry import claim, claims, entries, find_study, studies, study
from studies.bench.verify import check, verify, write_json


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()


def test_study_record():
    found = find_study("toys/decay")
    assert found.function is decay
    assert found.title == "Euler's method for x' = -rate x: how wrong is it?"
    assert (found.paper, found.figure) == ("Toys (1)", "Figure 1")
    assert found.parameters.defaults == {
        "rate": 1.0,
        "steps": 8,
        "seed": 0,
        "method": "euler",
        "noisy": False,
    }
    names = ["decay", "faulty", "slow", "stubborn", "threads"]
    assert [s.name for s in studies()] == [f"toys/{name}" for name in names]


def test_cases_are_the_union_of_the_grids_without_duplicates():
    cases = find_study("toys/decay").expand()
    assert [case["steps"] for case in cases] == [8, 16, 32, 64]
    assert all(
        case["rate"] == 1.0 and case["method"] == "euler" and len(case) == 5 for case in cases
    )
    assert varying(cases) == ["steps"]
    assert label(cases[1], ["steps"]) == "steps=16"


def test_a_grid_is_a_product_and_an_int_is_a_float_where_one_is_wanted():
    cases = find_study("toys/decay").expand([{"rate": [1, 2], "seed": range(3)}])
    assert [(case["rate"], case["seed"]) for case in cases] == [
        (1.0, 0),
        (1.0, 1),
        (1.0, 2),
        (2.0, 0),
        (2.0, 1),
        (2.0, 2),
    ]
    assert all(type(case["rate"]) is float for case in cases)
    assert find_study("toys/decay").expand([{"seed": np.arange(2)}]) == cases[:2]  # type: ignore[dict-item]


def test_overlay_keeps_the_rest_of_the_default_sweep():
    decay_study = find_study("toys/decay")
    cases = decay_study.expand(decay_study.overlay({"rate": [3.0]}))
    assert [(case["steps"], case["rate"]) for case in cases] == [
        (8, 3.0),
        (16, 3.0),
        (32, 3.0),
        (64, 3.0),
    ]


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        (["rate=4,16.5,1e-3"], {"rate": [4.0, 16.5, 1e-3]}),
        (["seed=0:5"], {"seed": [0, 1, 2, 3, 4]}),
        (["seed=1:8:3,20"], {"seed": [1, 4, 7, 20]}),
        (["seed=3:0:-1"], {"seed": [3, 2, 1]}),
        (["rate=1:3"], {"rate": [1.0, 2.0]}),
        (["method=exact", "noisy=true,false"], {"method": ["exact"], "noisy": [True, False]}),
    ],
)
def test_parse(assignments: list[str], expected: dict[str, list[object]]):
    parsed = find_study("toys/decay").parameters.parse(assignments)
    assert parsed == expected
    assert [type(v) for values in parsed.values() for v in values] == [
        type(v) for vs in expected.values() for v in vs
    ]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stps=4", r"unknown parameter 'stps'. Did you mean 'steps'\?"),
        ("steps=abc", "parameter 'steps' of study 'toys/decay' must be .*, got 'abc'"),
        ("steps=1.5", "parameter 'steps' .* got '1.5'"),
        ("seed=1.0", "parameter 'seed' of study 'toys/decay' must be an integer, got '1.0'"),
        ("steps=0", "must be an integer >= 1, got '0'"),
        ("rate=nan", "parameter 'rate' .* must be a finite number, got 'nan'"),
        ("rate=1,,2", "parameter 'rate' .* got ''"),
        ("method=eulr", "parameter 'method' .* must be 'euler' or 'exact', got 'eulr'"),
        ("noisy=2", "parameter 'noisy' .* must be true or false, got '2'"),
        ("seed", "given as name=value .* got 'seed'"),
        ("seed=", "given as name=value .* got 'seed='"),
        ("seed=5:0", "range of 0 values"),
        ("seed=0:3:0", "range of 0 values"),
        ("seed=0:1000000000", "range of 1000000000 values"),
    ],
)
def test_parse_refuses(assignment: str, message: str):
    with pytest.raises(ValueError, match=message):
        find_study("toys/decay").parameters.parse([assignment])


def bounded(
    *,
    horizon: Annotated[float, Gt(0), Le(100)] = 5.0,
    layers: Annotated[int, Field(ge=2), MultipleOf(2)] = 8,
    share: Annotated[float, Interval(ge=0, lt=1)] = 0.5,
    deep: bool = True,
) -> xr.Dataset:
    """Numbers with bounds."""
    return xr.Dataset({"horizon": horizon})


def test_bounds():
    study("toys/bounded", paper="Toys")(bounded)
    parameters = find_study("toys/bounded").parameters
    assert parameters.describe() == (
        "horizon=5.0 (> 0, <= 100) layers=8 (>= 2, divisible by 2) share=0.5 (>= 0, < 1) deep=true"
    )
    for name, value, wanted in (
        ("horizon", 1e300, r"must be a finite number > 0 and <= 100, got 1e\+300"),
        ("horizon", 0.0, "must be a finite number > 0 and <= 100, got 0.0"),
        ("layers", 3, "must be an integer >= 2 and divisible by 2, got 3"),
        ("share", 1.0, "must be a finite number >= 0 and < 1, got 1.0"),
    ):
        with pytest.raises(
            ValueError, match=f"parameter {name!r} of study 'toys/bounded' {wanted}"
        ):
            parameters.expand([{name: [value]}])
    assert parameters.check("horizon", 100) == 100.0

    def outside(*, gain: Annotated[float, Gt(0)] = 0.0) -> xr.Dataset:
        """Its own default is out of bounds."""
        return xr.Dataset({"gain": gain})

    with pytest.raises(ValueError, match=r"'gain' .* a finite number > 0, got 0\.0"):
        study("toys/outside", paper="Toys")(outside)


def test_every_horizon_and_seed_has_bounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    catalogue.load()
    told = [entry.parameters for entry in entries("study") if entry.module.startswith("studies.")]
    assert len(told) > 50
    for words in told:
        for name in ("horizon", "seed", "layers", "strength"):
            assert not re.search(rf"(^| ){name}=[^ ]+( [a-z]|$)", words), words


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"stepz": [1]}, r"unknown parameter 'stepz'. Did you mean 'steps'\?"),
        ({"steps": ["abc"]}, "'steps' .* got 'abc'"),
        ({"steps": [1.5]}, "'steps' .* got 1.5"),
        ({"steps": [True]}, "'steps' .* got True"),
        ({"steps": "8"}, "'steps' .* got '8'"),
        ({"rate": [math.inf]}, "'rate' .* got inf"),
        ({"rate": []}, "'rate' .* was given no values"),
        ({"seed": range(1000), "steps": range(1, 1000)}, "more than 100000 cases"),
    ],
)
def test_expand_refuses(grid: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        find_study("toys/decay").expand([grid])


def test_parameter_given_twice():
    with pytest.raises(ValueError, match="'seed' is given twice"):
        find_study("toys/decay").parameters.parse(["seed=1", "seed=2"])


def test_misspelt_study_offers_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown study 'toys/dekay'. Did you mean 'toys/decay'\?"
    ):
        find_study("toys/dekay")


def test_same_name_twice():
    with pytest.raises(
        ValueError, match=r"'toys/decay' is registered already, by studies_toys.decay"
    ):
        study("toys/decay", paper="Toys")(decay)
    with pytest.raises(ValueError, match="paper/question"):
        study("decay", paper="Toys")(decay)


def test_a_title_is_a_paragraph_on_one_line():
    def long(*, depth: int = 1) -> xr.Dataset:
        """A title that is too long
        for one line.

        What follows is not part of it.
        """
        return xr.Dataset({"depth": depth})

    study("toys/long", paper="Toys")(long)
    assert find_study("toys/long").title == "A title that is too long for one line."


def test_functions_that_cannot_be_studies():
    def no_default(*, depth: int) -> xr.Dataset:
        """A title."""
        return xr.Dataset({"depth": depth})

    def no_hint(*, depth=3) -> xr.Dataset:
        """A title."""
        return xr.Dataset({"depth": depth})

    def wrong_default(*, depth: int = "deep") -> xr.Dataset:  # type: ignore[assignment]
        """A title."""
        return xr.Dataset({"depth": depth})

    def wrong_type(*, depth: list[int] = [1]) -> xr.Dataset:  # noqa: B006
        """A title."""
        return xr.Dataset({"depth": depth})

    def wrong_bound(*, depth: Annotated[int, "> 0"] = 1) -> xr.Dataset:
        """A title."""
        return xr.Dataset({"depth": depth})

    def many(*depth: int) -> xr.Dataset:
        """A title."""
        return xr.Dataset({"depth": depth})

    def no_title(*, depth: int = 1) -> xr.Dataset:
        return xr.Dataset({"depth": depth})

    for function, kind, message in (
        (no_default, TypeError, "must have a type hint and a default"),
        (no_hint, TypeError, "must have a type hint and a default"),
        (wrong_default, ValueError, "must be an integer, got 'deep'"),
        (wrong_bound, TypeError, "must have bounds of annotated_types, such as Gt"),
        (wrong_type, TypeError, "must be bool, int, float, str or a Literal"),
        (many, TypeError, "must be a keyword parameter"),
        (no_title, TypeError, "needs a docstring"),
    ):
        with pytest.raises(kind, match=message):
            study("toys/new", paper="Toys")(function)
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        study("toys/new", paper="Toys", cases=[{"dept": [1]}])(decay_like)
    assert "toys/new" not in [s.name for s in studies()]


def decay_like(*, depth: int = 1) -> xr.Dataset:
    """A title."""
    return xr.Dataset({"depth": depth})


def test_claims_are_judged_case_by_case():
    @claim(
        "TOY-2",
        statement="Two numbers.",
        paper="toys",
        references={"a": 1.0, "b": 100.0},
        tolerance={"a": 1e-3, "b": 0.5},
        reason="chosen",
    )
    def two() -> dict[str, float]:
        return {"a": 1.002, "b": 100.4}

    first, second = check(claims()[0])
    assert (first.case, first.reference, first.computed, first.passed) == ("a", 1.0, 1.002, False)
    assert first.error == pytest.approx(0.002)
    assert (second.case, second.passed) == ("b", True)
    assert second.error == pytest.approx(0.4)
    assert second.tolerance == 0.5
    assert first.seconds > 0


def test_relative_tolerance_divides_by_the_reference():
    @claim(
        "TOY-3",
        statement="s",
        paper="toys",
        references={"": -200.0},
        relative_tolerance=0.01,
        reason="r",
    )
    def near() -> dict[str, float]:
        return {"": -201.0}

    (row,) = check(claims()[0])
    assert row.error == pytest.approx(0.005)
    assert row.passed
    assert row.relative


def test_nan_wrong_keys_and_exceptions_fail():
    answers: dict[str, Any] = {
        "nan": lambda: {"x": math.nan},
        "keys": lambda: {"y": 1.0},
        "raises": lambda: 1 / 0,
    }
    for name, answer in answers.items():
        claim(
            f"TOY-{name}",
            statement="s",
            paper="toys",
            references={"x": 1.0},
            tolerance=1e300,
            reason="r",
        )(answer)
    rows = {row.id: row for one in claims() for row in check(one)}
    assert not any(row.passed for row in rows.values())
    assert "ZeroDivisionError" in rows["TOY-raises"].note
    assert "['y']" in rows["TOY-keys"].note
    assert rows["TOY-nan"].note == ""


def test_claims_that_cannot_be_registered():
    good: dict[str, Any] = {
        "statement": "s",
        "paper": "p",
        "references": {"x": 1.0},
        "tolerance": 0.1,
        "reason": "r",
    }
    claim("TOY-1", **good)(lambda: {"x": 1.0})
    for changes, message in (
        ({}, "'TOY-1' is registered already"),
        ({"reason": " "}, "needs a statement and a reason"),
        ({"references": {}}, "references of claim .* must be finite"),
        ({"references": {"x": math.nan}}, "references of claim .* must be finite"),
        ({"tolerance": None}, "either tolerance or relative_tolerance"),
        ({"relative_tolerance": 0.1}, "either tolerance or relative_tolerance"),
        ({"tolerance": {"y": 0.1}}, r"references \['x'\] but tolerances \['y'\]"),
        ({"tolerance": -1.0}, "finite and >= 0"),
        (
            {"references": {"x": 0.0}, "tolerance": None, "relative_tolerance": 0.1},
            "to which no error is relative",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            claim("TOY-1" if not changes else "TOY-9", **{**good, **changes})(lambda: {"x": 1.0})
    assert [c.id for c in claims()] == ["TOY-1"]


def test_claims_by_paper_and_slowness():
    for name, paper, slow in (("B-1", "b", False), ("A-2", "a", True), ("A-1", "a", False)):
        claim(
            name,
            statement="s",
            paper=paper,
            references={"": 1.0},
            tolerance=0.0,
            reason="r",
            slow=slow,
        )(dict)
    assert [c.id for c in claims()] == ["A-1", "B-1"]
    assert [c.id for c in claims(slow=True)] == ["A-1", "A-2", "B-1"]
    assert [c.id for c in claims("a", slow=True)] == ["A-1", "A-2"]
    with pytest.raises(ValueError, match=r"unknown paper 'aa'. Did you mean 'a'"):
        claims("aa")


def test_verify_tells_and_writes(tmp_path):
    answers = {"TOY-1": {"x": 1.0}, "TOY-2": {"x": math.nan}}
    for name, answer in answers.items():
        claim(
            name,
            statement=f"about {name}",
            paper="toys",
            references={"x": 1.0},
            tolerance=0.1,
            reason="why",
        )(answer.copy)
    said: list[str] = []
    results = verify(claims(), said.append)
    text = "\n".join(said)
    assert "TOY-1  passed" in text
    assert "TOY-2  FAILED" in text
    assert text.count("because: why") == 1
    assert said[-1] == "2 claims, 2 numbers, 1 outside tolerance"
    write_json(results, tmp_path / "v.json")
    rows = registry_json(tmp_path / "v.json")
    assert [(r["id"], r["computed"], r["passed"]) for r in rows] == [
        ("TOY-1", 1.0, True),
        ("TOY-2", None, False),
    ]
    assert {
        "id",
        "statement",
        "reference",
        "computed",
        "error",
        "tolerance",
        "passed",
        "seconds",
    } <= rows[0].keys()


def registry_json(path) -> list[dict[str, Any]]:
    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_claims_compute_with_one_thread():
    def threads() -> dict[str, float]:
        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        return {"most threads": float(max(blas))}

    claim(
        "TOY-1T",
        statement="BLAS has one thread.",
        paper="Toys",
        references={"most threads": 1.0},
        tolerance=0.0,
        reason="It is a count.",
    )(threads)
    with threadpool_limits(2):
        (row,) = check(claims("Toys")[0])
    assert row.passed, row
