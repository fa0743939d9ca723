"""The map of steps: what runs do on both sides of the critical step."""

import numpy as np
import pytest

from studies.nar_sastry.step_map import Outcome, column, step_map


@pytest.mark.parametrize("target", ["scalar", "matrix"])
@pytest.mark.parametrize("axis", ["depth", "imbalance"])
def test_runs_change_at_the_critical_step(axis, target):
    found = step_map(axis=axis, target=target, steps=5, iterations=400, halvings=7)
    assert float(found["deviation"].max()) < 0.02
    step, outcome = found["step"].values[None], found["outcome"].values
    critical, bound = (found[name].values[:, None] for name in ("critical", "bound"))
    minima = (Outcome.HERE, Outcome.ELSEWHERE)
    assert np.all(critical <= bound * (1 + 1e-12))
    assert not np.any(np.isin(outcome[step > bound], minima))
    assert not np.any(outcome[step > critical] == Outcome.HERE)
    below = outcome[step < 0.9 * critical]
    assert np.all(np.isin(below, (Outcome.HERE, Outcome.NOT_YET)))
    if axis == "depth":
        np.testing.assert_allclose(found["proved"], found["critical"] / 2, rtol=1e-12)
    else:
        assert np.any(outcome[(step > critical) & (step < bound)] != Outcome.HERE)


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
