"""The estimators keep scikit-learn's conventions, and learn."""

import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from solvers import Adam, Euler, GradientDescent, integrate
from studies import ContinuumClassifier, ContinuumRegressor

SMALL = {"hidden": 8, "layers": 4, "random_state": 0}
SCRIPT = Path(__file__).parent.parent / "examples" / "own_csv.py"


def test_two_moons_with_names():
    x, y = make_moons(120, noise=0.1, random_state=0)
    names = np.where(y == 1, "upper", "lower")
    model = make_pipeline(StandardScaler(), ContinuumClassifier(**SMALL, horizon=3.0, tol=1e-2))
    model.fit(x[:90], names[:90])
    assert model.score(x[90:], names[90:]) >= 0.95
    assert list(model.classes_) == ["lower", "upper"]
    p = model.predict_proba(x)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-14)
    assert set(model.predict(x)) == {"lower", "upper"}
    np.testing.assert_array_equal(model.predict(x) == "upper", p[:, 1] > 0.5)
    odds = model.decision_function(x)
    np.testing.assert_allclose(odds, np.log(p[:, 1] / p[:, 0]), rtol=1e-6, atol=1e-9)


def test_regression_of_two_targets(rng):
    x = rng.uniform(-1, 1, (80, 2))
    y = np.stack([100 + 30 * np.sin(2 * x[:, 0]), x[:, 0] * x[:, 1]], axis=1)
    both = ContinuumRegressor(**SMALL, alpha=1e-7, tol=1e-5, max_iter=150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        both.fit(x[:60], y[:60])
        one = clone(both).fit(x[:60], y[:60, 0])
    assert both.predict(x).shape == (80, 2)
    assert one.predict(x).shape == (80,)
    assert one.score(x[60:], y[60:, 0]) > 0.98
    f = np.vstack([x.T, np.zeros(80)])
    final = integrate(one.network_, one.control_, f, Euler()).trajectory.final
    wanted = one.control_["readout.W"] @ final + one.control_["readout.mu"][:, None]
    np.testing.assert_allclose(one.predict(x), wanted[0], rtol=1e-13)


@pytest.mark.parametrize("kind", [ContinuumClassifier, ContinuumRegressor])
def test_weights_are_repetitions(kind, rng):
    """A weight of 3 is three samples of weight 1, a weight of 0 none."""
    x = rng.uniform(-1, 1, (30, 2))
    y = (x[:, 0] > x[:, 1]).astype(float)
    weight = rng.integers(0, 4, 30)
    model = kind(**SMALL, max_iter=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        weighted = clone(model).fit(x, y, sample_weight=weight)
        repeated = clone(model).fit(x.repeat(weight, axis=0), y.repeat(weight))
        plain = clone(model).fit(x, y)
    read = "predict" if kind is ContinuumRegressor else "decision_function"
    found, wanted, other = (getattr(m, read)(x) for m in (weighted, repeated, plain))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)  # 10 iterations grow rounding
    assert np.abs(other - wanted).max() > 1e-2 * np.abs(wanted).max()
    for wrong in (np.ones(29), -np.ones(30), np.zeros(30), np.ones((30, 2)), np.full(30, np.nan)):
        with pytest.raises(ValueError, match=r"sample_weight (must|has)"):
            model.fit(x, y, sample_weight=wrong)


def test_batches_by_another_minimizer():
    x, y = make_moons(400, noise=0.1, random_state=0)
    adam = Adam(step=0.03, batch=32, max_iterations=15)
    model = ContinuumClassifier(**SMALL, horizon=3.0, minimizer=adam)
    assert clone(model).get_params()["minimizer"].batch == 32
    model = make_pipeline(StandardScaler(), model).fit(x[:300], y[:300])
    assert model.score(x[300:], y[300:]) >= 0.95
    again = clone(model).fit(x[:300], y[:300])
    np.testing.assert_array_equal(again.decision_function(x), model.decision_function(x))
    with pytest.raises(TypeError, match="minimizer must be a Minimizer"):
        ContinuumClassifier(minimizer="adam").fit(x, y)
    with pytest.warns(ConvergenceWarning, match=r"GradientDescent.* ended before"):
        ContinuumRegressor(**SMALL, minimizer=GradientDescent(max_iterations=2)).fit(x, y)


def test_what_is_refused(rng):
    x, y = rng.standard_normal((6, 2)), np.array(["a", "b"] * 3)
    with pytest.raises(ValueError, match=r"unknown activation .tanhh."):
        ContinuumClassifier(activation="tanhh").fit(x, y)
    with pytest.raises(ValueError, match="y must have two classes at least"):
        ContinuumClassifier().fit(x, ["a"] * 6)
    with pytest.raises(ValueError, match="y must have two classes at least"):
        ContinuumClassifier().fit(x, y, sample_weight=y == "a")
    with pytest.raises(NotFittedError):
        ContinuumRegressor().predict(x)
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        ContinuumRegressor(layers=0).fit(x, x[:, 0])
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        ContinuumRegressor(max_iter=1).fit(x, x[:, 0])
    assert ContinuumClassifier(hidden=3).get_params()["hidden"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ContinuumClassifier, ContinuumRegressor])
@pytest.mark.filterwarnings("ignore")
def test_conventions(kind):
    with np.errstate(all="warn"):
        check_estimator(kind(hidden=6, layers=3, max_iter=60, random_state=0))


def test_a_csv_file_of_ones_own(tmp_path, monkeypatch, capsys, rng):
    x = rng.standard_normal((90, 3))
    table = pd.DataFrame(x, columns=["length", "width", "height"])
    table["kind"] = np.where(x[:, 0] + x[:, 1] > 0, "large", "small")
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    monkeypatch.setattr(sys, "argv", ["own_csv.py", str(path), "kind"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        runpy.run_path(str(SCRIPT), run_name="__main__")
    said = capsys.readouterr().out
    assert float(said.split()[1]) > 0.8
    assert "on 23 rows held out" in said
    assert "sum of squares" in said
    monkeypatch.setattr(sys, "argv", ["own_csv.py", str(path), "kid"])
    with pytest.raises(SystemExit, match="has no column 'kid'; it has length"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    table.assign(text="x", gap=np.nan).to_csv(tmp_path / "bad.csv", index=False)
    for name, words in (
        ("none.csv", "none.csv cannot be read as a table: .*No such file"),
        ("bad.csv", r"must be numbers without gaps: text in \['text'\], gaps in \['gap'\]"),
    ):
        monkeypatch.setattr(sys, "argv", ["own_csv.py", str(tmp_path / name), "kind"])
        with pytest.raises(SystemExit, match=words):
            runpy.run_path(str(SCRIPT), run_name="__main__")
