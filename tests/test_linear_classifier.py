"""The baseline of studies of classification is logistic regression, as scikit-learn computes it."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from solvers import Status
from studies.shared import linear_classifier

STRENGTH = 0.02


@pytest.fixture
def data(rng):
    points = rng.standard_normal((3, 60))
    scores = np.array([[1.0, 0.2, 0.0], [-0.5, 1.0, 0.0], [0.0, -1.0, 0.1]]) @ points
    return points, np.argmax(scores + 0.5 * rng.standard_normal((3, 60)), axis=0)


@pytest.mark.parametrize("power", [1, 2])
def test_against_scikit_learn(power, data):
    """Its sum of losses has the factor C: C = 1 / (strength M) for |w|_1, half of it for |w|^2."""
    points, labels = data
    found = linear_classifier(points, labels, STRENGTH, power)
    assert found.status is Status.CONVERGED
    peer = LogisticRegression(
        C=1 / (power * STRENGTH * 60),
        l1_ratio=float(power == 1),
        solver="saga" if power == 1 else "lbfgs",
        tol=1e-10,
        max_iter=100_000,
        random_state=0,
    ).fit(points.T, labels)
    np.testing.assert_allclose(found.weight, peer.coef_, rtol=0, atol=1e-4)
    assert found.accuracy(points, labels) == peer.score(points.T, labels)
    scores = peer.coef_ @ points + peer.intercept_[:, None]
    loss = np.mean(np.log(np.exp(scores).sum(axis=0)) - scores[labels, np.arange(60)])
    size = np.sum(np.abs(peer.coef_) ** power)
    assert found.objective == pytest.approx(loss + STRENGTH * size, rel=1e-7)


def test_the_absolute_value_makes_zeros(data):
    points, labels = data
    sparse = linear_classifier(points, labels, 0.05, 1).weight
    assert np.sum(sparse == 0.0) >= 3
    assert np.all(linear_classifier(points, labels, 0.05, 2).weight != 0.0)


def test_another_power():
    with pytest.raises(ValueError, match="power must be 1 or 2, got 3"):
        linear_classifier(np.ones((1, 2)), np.array([0, 1]), 0.1, 3)
