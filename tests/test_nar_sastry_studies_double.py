"""The study of single and double products of matrices, and the claims on Figure 3."""

import numpy as np
import pytest
from pictures import check_pictures

from solvers.linear_networks import step_bound
from studies.nar_sastry.claims.double import half_unit
from studies.nar_sastry.double_network import RATIOS, double_network, losses, settled, target


def test_symmetric_and_not_have_the_same_eigenvalues():
    (one, values), (other, again) = target("symmetric", 3), target("non-normal", 3)
    np.testing.assert_array_equal(values, again)
    np.testing.assert_allclose(one, one.T, rtol=0.0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.eigvalsh(one), np.sort(values), atol=1e-13)
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(other).real), np.sort(values), atol=1e-10)


def test_losses_begin_with_those_of_the_identity():
    r, _ = target("non-normal", 2)
    assert losses(r, False, 1e-3, 3)[0] == pytest.approx(0.5 * np.sum((np.eye(20) - r) ** 2))
    assert losses(r, True, 1e-3, 3)[0] == pytest.approx(0.5 * np.sum(r**2))


def test_settled_runs_end_at_their_lowest_loss():
    k = np.arange(300.0)
    falling = 1.0 / (1.0 + k)
    assert settled(falling)
    assert settled(np.full(300, 2.0))
    assert not settled(falling + 1e-3 * (k == 250))
    assert not settled(np.where(k < 50, falling, 0.5))
    assert not settled(np.where(k < 299, falling, np.nan))


def test_study_sees_where_only_the_double_network_settles():
    found = double_network("non-normal", 2, 1e-3, steps=250)
    ratio = np.array(RATIOS)
    single, double = (found["settled"].sel(network=name).values == 1 for name in found["network"])
    assert np.all(single[ratio < 1.0])
    assert not np.any(single[ratio > 1.0])
    assert np.all(double[ratio <= 1.5])
    assert not np.any(double[ratio >= 1.9])
    r, values = target("non-normal", 2)
    assert float(found["bound"]) == step_bound(r, 20) == pytest.approx(3.70e-3, abs=5e-6)
    assert float(found["printed"]) == pytest.approx(0.1 * np.abs(values).max() ** -1.9)
    assert 1.4 < float(found["critical"]) < 1.95
    assert found["loss"].shape == (2, 2501)
    assert found["loss"][1, 100] == pytest.approx(6.58532e-5, abs=5e-11)


def test_study_sees_the_single_network_near_its_limit():
    found = double_network("symmetric", 0, 0.01, steps=101)
    limit = float(found["limit"])
    assert limit == pytest.approx(1.400112, abs=5e-7)
    assert 0.0 < found["loss"][0, 1000] - limit < 0.013
    assert np.isnan(found["left"])


@pytest.mark.slow
def test_the_caption_says_which_statement_holds(tmp_path):
    grids: list = [{"kind": ["non-normal"], "seed": [2, 4], "step": 1e-4, "steps": 150}]
    words = {
        "double_network": r"for 2; single unsettled and double settled: at 1\.05 to 1\.\d+ times"
    }
    check_pictures("double_network", grids, words, tmp_path, "nar_sastry")


@pytest.mark.parametrize("steps", [100, 0])
def test_study_refuses_few_steps(steps):
    with pytest.raises(ValueError, match="steps > 100"):
        double_network(steps=steps)


def test_half_a_unit_of_the_last_digit():
    assert [half_unit(x) for x in ("1.40", ".614689", "7.58e-6", "0")] == [5e-3, 5e-7, 5e-9, 1e-26]
