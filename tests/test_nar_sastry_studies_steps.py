"""The map of steps: what runs do on both sides of the critical step."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.nar_sastry.step_map import TARGETS, Outcome, column, step_map


def test_runs_change_at_the_critical_step(tmp_path):
    grids: list = [{"axis": ["depth", "imbalance"], "steps": 5, "iterations": 300, "halvings": 5}]
    words = {"step_map": r"within 0\.0\d+ of 2 / sharpness.*; R = 2, by imbalance: \d+ converged"}
    for case in check_pictures("step_map", grids, words, tmp_path, "nar_sastry"):
        assert float(case["deviation"].max()) < 0.03
        step, outcome = case["step"].values[None], case["outcome"].values
        critical, bound = (case[name].values[:, None] for name in ("critical", "bound"))
        minima = (Outcome.HERE, Outcome.ELSEWHERE)
        assert np.all(critical <= bound * (1 + 1e-12))
        assert not np.any(np.isin(outcome[step > bound], minima))
        assert not np.any(outcome[step > critical] == Outcome.HERE)
        below = outcome[step < 0.9 * critical]
        assert np.all(np.isin(below, (Outcome.HERE, Outcome.NOT_YET)))
        if np.all(critical == bound):
            np.testing.assert_allclose(case["proved"], case["critical"] / 2, rtol=1e-12)


@pytest.mark.parametrize("axis", ["depth", "imbalance"])
def test_a_symmetric_matrix_has_its_own_critical_steps(axis):
    one = column(axis, TARGETS["matrix"], 4, 1.5, 0)
    stays, leaves = one.bracket(2000, 7)
    assert stays == pytest.approx(one.critical, rel=0.01)
    assert leaves == pytest.approx(one.critical, rel=0.01)


def test_a_run_that_leaves_settles_on_flatter_factors():
    """NS-02: kappa = 1.2 at 1.05 times the critical step settles on another equilibrium."""
    here = column("imbalance", np.array([[2.0]]), 5, 1.2, 0)
    assert here.critical == pytest.approx(0.093217255272, abs=5e-13)
    assert here.run(1.05 * here.critical, 4000)[0] is Outcome.ELSEWHERE
    assert here.run(0.95 * here.critical, 4000)[0] is Outcome.HERE
    even = column("imbalance", np.array([[2.0]]), 5, 1.0, 0)
    assert even.run(1.05 * even.critical, 4000)[0] is Outcome.PERIOD_TWO


def test_bad_input():
    with pytest.raises(ValueError, match="steps"):
        step_map(steps=1)
