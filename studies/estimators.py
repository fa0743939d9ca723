"""Networks in depth as estimators of scikit-learn: samples in rows, strings as labels, pipelines.

    d/dt x = W2(t) sigma(W1(t) x + b1(t)) + b2(t),    x(0) = (features, 0, ..., 0),

on `layers` layers of [0, horizon] by Euler's method, with a trained affine readout of x(T).  W1,
b1, W2, b2 are constant on layers and, with the readout, trained by L-BFGS on all samples at once.
Features should be of order one: put a StandardScaler before it.
"""

import warnings
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from continuum import (
    Affine,
    Bottleneck,
    CrossEntropy,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    activations,
)
from continuum.arrays import Array
from continuum.checks import check_count, check_name, check_number, check_positive
from continuum.losses import Loss
from solvers import LBFGS, Euler, integrate, minimize

ACTIVATIONS = ("tanh", "relu", "sigmoid", "softplus", "gelu", "arctan", "identity")


class _Continuum(BaseEstimator):
    """What both estimators share: parameters, training, the run to the outputs."""

    def __init__(
        self,
        hidden: int = 16,
        layers: int = 8,
        horizon: float = 1.0,
        activation: str = "tanh",
        extra: int = 1,
        alpha: float = 1e-4,
        max_iter: int = 300,
        tol: float = 1e-3,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.layers = layers
        self.horizon = horizon
        self.activation = activation
        self.extra = extra
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _train(self, x: Array, target: Array, outputs: int, loss: Loss) -> None:
        """Sets network_, readout_, control_, loss_ and n_iter_.

        x : (samples, features);  target : (outputs, samples), or labels (samples,)
        """
        check_name("activation", self.activation, ACTIVATIONS)
        if check_number("alpha", self.alpha) < 0.0:
            raise ValueError(f"alpha must be >= 0, got {self.alpha}")
        hidden, extra = check_count("hidden", self.hidden), check_count("extra", self.extra, 0)
        mesh = TimeMesh(self.horizon, self.layers)
        units = x.shape[1] + extra
        network = Bottleneck(units, getattr(activations, self.activation), hidden)
        self._extra = extra
        penalised = ["weight1", "weight2", "readout.W"]
        problem = LearningProblem(
            network,
            self._initial(x),
            target,
            mesh,
            readout=Affine(outputs),
            terminal=loss,
            penalty=Tikhonov(self.alpha, penalised) if self.alpha else None,
        )
        try:
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        except ValueError as error:
            raise ValueError(f"random_state: {error}") from None
        rng = np.random.default_rng(seed)
        start = problem.space.sample(
            weight1=rng.standard_normal((hidden, units)) / np.sqrt(units),
            weight2=rng.standard_normal((units, hidden)) / np.sqrt(hidden),
        )  # the same on all layers, so that the trained control varies slowly in depth
        minimizer = LBFGS(
            gtol=check_positive("tol", self.tol),
            max_iterations=check_count("max_iter", self.max_iter),
            relative=True,
        )
        solution = minimize(problem, minimizer, initial=start, raise_on_failure=False)
        if not solution.status.ok:
            text = (
                f"L-BFGS ended before the gradient had fallen by the factor tol={self.tol}, with "
                f"max_iter={self.max_iter}: {solution.status.name}"
            )
            warnings.warn(text, ConvergenceWarning, stacklevel=3)
        self.network_, self.readout_, self.control_ = network, problem.readout, solution.control
        self.loss_ = solution.objective
        self.n_iter_ = max(1, int(solution.statistics["iterations"]))

    def _samples(self, X: ArrayLike, y: ArrayLike, **how: bool) -> tuple[Array, Array]:
        """X as (samples, features) of float64, and y, as scikit-learn checks both."""
        x, t = validate_data(self, X, y, dtype=np.float64, **how)  # type: ignore[arg-type]
        return np.asarray(x), np.asarray(t)

    def _initial(self, x: Array) -> Array:
        """(features + extra, samples)."""
        return np.concatenate([x.T, np.zeros((self._extra, len(x)))])

    def _outputs(self, X: ArrayLike) -> Array:
        """(samples, outputs)."""
        check_is_fitted(self)
        x = np.asarray(validate_data(self, X, dtype=np.float64, reset=False))  # type: ignore[arg-type]
        run = integrate(self.network_, self.control_, self._initial(x), Euler())
        mesh = self.control_.mesh
        values = self.control_.at_layer(mesh.layers - 1, mesh.horizon)
        return self.readout_.output(self.network_, run.trajectory.final, values).T


class ContinuumRegressor(RegressorMixin, _Continuum):
    """Regression by a network in depth, mean squared error; one target or several.

    hidden : h, the width of sigma's argument
    layers, horizon : of the network in depth
    activation : "tanh", "relu", "sigmoid", "softplus", "gelu", "arctan" or "identity"
    extra : how many zeros are appended to the features: trajectories in R^d do not cross, and with
        one more dimension they can pass each other
    alpha : weight of int |W1|^2 + |W2|^2 dt + |readout|^2
    max_iter, tol : L-BFGS ends when the gradient has fallen by the factor tol; a ConvergenceWarning
        says so if it ends otherwise
    random_state : a seed or a numpy RandomState, for the weights at the start

    Fitted: network_ (a Bottleneck), control_ (weights in time, and those of the readout), readout_,
    loss_ (with the penalty), n_iter_, n_features_in_, and feature_names_in_ where features have
    names.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Trains on X (samples, features), y (samples,) or (samples, targets); returns itself."""
        x, t = self._samples(X, y, multi_output=True, y_numeric=True)
        t = t.astype(np.float64)
        self._one = t.ndim == 1
        target = t[None] if self._one else t.T
        self._train(x, target, len(target), SquaredError())
        return self

    def predict(self, X: ArrayLike) -> Array:
        """(samples,), or (samples, targets) if y had two axes."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._one else outputs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class ContinuumClassifier(ClassifierMixin, _Continuum):
    """Classification by a network in depth, cross-entropy of an affine readout; labels of any kind.

    Parameters and what is fitted: see `ContinuumRegressor`; classes_ are the labels, sorted.
    """

    classes_: Array

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Trains on X (samples, features), labels y (samples,), and returns itself.

        raises ValueError for fewer than two classes
        """
        x, t = self._samples(X, y)
        check_classification_targets(t)
        self.classes_, labels = np.unique(t, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have two classes at least, got one class: {self.classes_[0]}")
        self._train(x, labels, len(self.classes_), CrossEntropy())
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Scores (samples, classes); of two classes, (samples,), that of the second less the
        first.
        """
        scores = self._outputs(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities (samples, classes), in the order of classes_."""
        return softmax(self._outputs(X), axis=1)

    def predict(self, X: ArrayLike) -> Array:
        """The likeliest label of every sample."""
        scores = self._outputs(X)
        return self.classes_[np.argmax(scores, axis=1)]
