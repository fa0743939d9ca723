"""Networks in depth as estimators of scikit-learn: samples in rows, strings as labels, pipelines.

    d/dt x = W2(t) sigma(W1(t) x + b1(t)) + b2(t),    x(0) = (features, 0, ..., 0),

on `layers` layers of [0, horizon] by Euler's method, with a trained affine readout of x(T).  W1,
b1, W2, b2 are constant on layers and, with the readout, trained by L-BFGS on all samples at once,
or by another minimizer, such as Adam on batches of them.  Features should be of order one: put a
StandardScaler before it.
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
from continuum.checks import (
    check_array,
    check_count,
    check_name,
    check_number,
    check_positive,
    check_type,
)
from continuum.losses import Loss
from solvers import LBFGS, Euler, integrate, minimize
from solvers.descent.run import Minimizer

ACTIVATIONS = ("tanh", "relu", "sigmoid", "softplus", "gelu", "arctan", "identity")


class ContinuumEstimator(BaseEstimator):
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
        minimizer: Minimizer | None = None,
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
        self.minimizer = minimizer

    def _train(
        self, x: Array, target: Array, weights: Array | None, outputs: int, loss: Loss
    ) -> None:
        """Sets network_, readout_, control_, loss_ and n_iter_.

        x : (samples, features);  target : (outputs, samples), or labels (samples,)
        weights : (samples,), or None
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
            sample_weights=weights,  # type: ignore[arg-type]  # None is for equal ones
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
        minimizer = self._minimizer()
        solution = minimize(problem, minimizer, initial=start, raise_on_failure=False)
        if not solution.status.ok:
            how = f"{minimizer!r}"
            if self.minimizer is None:
                how = f"L-BFGS with max_iter={self.max_iter}, tol={self.tol}"
            text = f"{how} ended before the gradient had fallen enough: {solution.status.name}"
            warnings.warn(text, ConvergenceWarning, stacklevel=3)
        self.network_, self.readout_, self.control_ = network, problem.readout, solution.control
        self.loss_ = solution.objective
        self.n_iter_ = max(1, int(solution.statistics["iterations"]))

    def _minimizer(self) -> Minimizer:
        if self.minimizer is not None:
            return check_type("minimizer", self.minimizer, Minimizer)
        return LBFGS(
            gtol=check_positive("tol", self.tol),
            max_iterations=check_count("max_iter", self.max_iter),
            relative=True,
        )

    def _samples(
        self, X: ArrayLike, y: ArrayLike, weights: ArrayLike | None, **how: bool
    ) -> tuple[Array, Array, Array | None]:
        """X as (samples, features) of float64, y, and weights, without samples of weight 0; X and y
        as scikit-learn checks them.
        """
        x, t = map(np.asarray, validate_data(self, X, y, dtype=np.float64, **how))  # type: ignore[arg-type]
        if weights is None:
            return x, t, None
        w = check_array("sample_weight", np.asarray(weights, dtype=np.float64), (len(x),))
        if w.min() < 0.0 or w.max() == 0.0:
            raise ValueError("sample_weight must be >= 0 and not all zero")
        return x[w > 0.0], t[w > 0.0], w[w > 0.0]

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


class ContinuumRegressor(RegressorMixin, ContinuumEstimator):
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
    minimizer : in place of L-BFGS, with its own numbers instead of max_iter and tol:
        Adam(step=1e-2, batch=64, max_iterations=20) for 20 passes over many samples

    Fitted: network_ (a Bottleneck), control_ (weights in time, and those of the readout), readout_,
    loss_ (with the penalty), n_iter_, n_features_in_, and feature_names_in_ where features have
    names.  save_onnx("model.onnx", model.network_, model.control_, readout=model.readout_) writes
    it; its input is the features and `extra` zeros.
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Trains on X (samples, features), y (samples,) or (samples, targets); returns itself.

        sample_weight : (samples,), of the errors in the mean: 2 is what two such samples are
        raises ValueError for weights below 0, or all 0
        """
        x, t, w = self._samples(X, y, sample_weight, multi_output=True, y_numeric=True)
        t = t.astype(np.float64)
        self._one = t.ndim == 1
        target = t[None] if self._one else t.T
        self._train(x, target, w, len(target), SquaredError())
        return self

    def predict(self, X: ArrayLike) -> Array:
        """(samples,), or (samples, targets) if y had two axes."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._one else outputs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class ContinuumClassifier(ClassifierMixin, ContinuumEstimator):
    """Classification by a network in depth, cross-entropy of an affine readout; labels of any kind.

    Parameters and what is fitted: see `ContinuumRegressor`; classes_ are the labels, sorted.
    """

    classes_: Array

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Trains on X (samples, features), labels y (samples,), and returns itself.

        sample_weight : (samples,), of the losses in the mean: 2 is what two such samples are
        raises ValueError for fewer than two classes among samples whose weight is not 0, and
            weights below 0
        """
        x, t, w = self._samples(X, y, sample_weight)
        check_classification_targets(t)
        self.classes_, labels = np.unique(t, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have two classes at least, got one class: {self.classes_[0]}")
        self._train(x, labels, w, len(self.classes_), CrossEntropy())
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
