"""The study of the minimisers of XOR: its branches, events and pictures."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.turnpike.bifurcation import bifurcation


@pytest.fixture(scope="module")
def weaker():
    return bifurcation(parameter="penalty", starts=2)


def test_the_pieces_of_both_branches_end_at_their_events(weaker):
    kinds = weaker.attrs["kinds"].split(";")
    assert kinds == ["subcritical pitchfork", "subcritical pitchfork", "fold", "equal values"]
    assert list(weaker["branch"].values) == [0, 0, 0, 1, 1]
    assert list(weaker["morse"].values) == [0, 1, 2, 1, 0]
    at, cost = weaker["event_value"].values, weaker["event_objective"].values
    ends = [x[np.isfinite(x)][-1] for x in weaker["value"].values]
    assert ends == [at[0], at[1], 0.01, at[2], 0.01]
    assert weaker["objective"].values[3, 0] == pytest.approx(cost[0], rel=1e-13)
    assert np.all(weaker["event_error"].values < 1e-12)
    assert list(weaker["event_null"].values) == [1, 1, 1, 0]


def test_descents_from_zero_end_at_the_saddle_unless_they_look_for_a_way_down(weaker):
    """J of the branch at lambda = 0.02, where its Morse index is 1."""
    x, y = weaker["value"].values[1], weaker["objective"].values[1]
    kept = np.isfinite(x)
    on_branch = np.interp(0.02, x[kept][::-1], y[kept][::-1])
    ends = weaker["from_zero"].values
    assert ends[:2] == pytest.approx(on_branch, abs=1e-4)
    assert ends[2] < 0.4 * on_branch


def test_branches_over_the_horizon_cost_less_than_the_symmetric_one():
    case = bifurcation(parameter="horizon", starts=2, seed=4, longest=4.0)
    assert case["morse"].values[0] == 0
    best = np.nanmin(case["objective"].values[case["branch"].values > 0])
    last = case["objective"].values[0]
    assert best < 0.7 * last[np.isfinite(last)][-1]
    folds = [kind == "fold" for kind in case.attrs["kinds"].split(";")]
    first = case["event_value"].values[folds]
    assert len(first)
    assert np.all((first > 1.0) & (first < 4.0))


@pytest.mark.parametrize("given", [{"starts": 0}, {"longest": 0.5}])
def test_values_it_does_not_take_are_named(given):
    with pytest.raises(ValueError, match="starts must be from 1"):
        bifurcation(**given)


def test_pictures(tmp_path):
    check_pictures(
        "bifurcation",
        [{"parameter": ["penalty", "horizon"], "starts": 1, "longest": 3.0}],
        {
            "penalty": r"fold at 0\.1229467, J = 1\.3436451; equal values at 0\.1041498",
            "horizon": "16 Euler layers at every horizon",
        },
        tmp_path,
        "turnpike",
    )
