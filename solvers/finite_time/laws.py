"""Laws of training w' = u(w) that are to bring the errors e = o(w) - y to 0 in finite time.

J = D o(w), S errors, W weights; spow(v, a) = sign(v) |v|^a.  Every error counts once: sums over
outputs and samples, not means.  A mean over M samples is the gain k / M in law (3), and the gain
k M^(-alpha - beta) in law (13).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from continuum.activations import identity, sigmoid
from continuum.arrays import Array, is_array
from continuum.checks import check_array, check_name, check_number, check_positive, store
from continuum.controls import ControlSpace
from continuum.doors import checked
from continuum.records import short

from ..steps.tableaux import StepFailed
from .plants import AffinePlant, Plant
from .powers import exact_step, implicit_step, power_loss, spow

Gain: TypeAlias = float | Array | Mapping[str, float | Array]
"""A number, one for each weight (W,), or numbers or arrays by block."""

_ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class Moment:
    """Where a law is asked.

    w : (W,);  e : (S,);  plant : what moves;  model : what the law takes derivatives from
    pushed_w, pushed_e : after the disturbance of the step alone; w and e if there is none
    """

    w: Array
    e: Array
    plant: Plant
    model: Plant
    pushed_w: Array
    pushed_e: Array


@dataclass(frozen=True, eq=False)
class Closed:
    """Errors that follow e' = -rate spow(e, power), each on its own.

    moves : (W, S), the change of the weights for a change of the scores z
    layer : spow(e, 0) is e / layer where |e| < layer
    """

    moves: Array
    rate: float
    power: float
    layer: float = 0.0

    def exact(self, e: Array, time: float) -> Array:
        """The errors after this time."""
        if not self.layer:
            return exact_step(e, self.rate, self.power, time)
        if self.rate <= 0.0:
            raise ValueError("a boundary layer needs errors that decrease")
        outside = np.maximum(np.abs(e) - self.layer, 0.0)
        slid = np.minimum(outside, self.rate * time)
        inside = np.maximum(time - outside / self.rate, 0.0)
        return np.sign(e) * (np.abs(e) - slid) * np.exp(-self.rate * inside / self.layer)

    def change(self, at: Moment, e: Array) -> Array:
        """The change of the weights (W,) from at.pushed_w after which the errors are e."""
        plant = at.plant
        if not isinstance(plant, AffinePlant):
            raise TypeError("errors close on one layer only")
        if plant.linear:
            return self.moves @ (e - at.pushed_e)
        o = plant.target + e
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.log(o) - np.log1p(-o)
        return self.moves @ (z - plant.scores(at.pushed_w))


class Law(ABC):
    """u(w), with implicit variants of its steps; gain : k."""

    gain: Gain

    @abstractmethod
    def check(self, plant: Plant, model: Plant) -> None:
        """Raises TypeError, ValueError for what the law is not defined on."""

    @abstractmethod
    def objective(self, e: Array) -> float:
        """The loss of errors (S,) that the law is to bring to 0."""

    @abstractmethod
    def velocity(self, at: Moment) -> Array:
        """u (W,)."""

    @abstractmethod
    def semi_implicit(self, at: Moment, step: float) -> Array:
        """The change of w (W,), from at.pushed_w, in which the errors of the end of the step stand
        beside coefficients of its beginning.
        """

    @abstractmethod
    def implicit(self, at: Moment, step: float) -> tuple[Array, int]:
        """The change of w in a step of backward Euler, and how many passes over the samples it
        took.

        raises StepFailed if its equation was not solved
        """

    def closed(self, plant: Plant, model: Plant) -> Closed | None:
        """The equation of the errors alone, None where there is none."""
        return None

    def reads_jacobian(self, plant: Plant, scheme: str) -> bool:
        """True if lambda_min(J J^T) says something of the law and J costs nothing more."""
        return isinstance(plant, AffinePlant) or scheme in ("semi-implicit", "implicit")


@checked
@dataclass(frozen=True, eq=False)
class PowerLaw(Law):
    """(13) with the gradient of all samples: w' = -k spow(G, alpha) E^beta, entry by entry,

        G = J^T spow(e, alpha),  E = sum_s |e_s|^(alpha + 1) / (alpha + 1),  G = D E.

    alpha : in (0, 1];  beta : in [0, 1);  gain : k > 0
    A settling time is proved for alpha + beta < 1 only; the law itself may have any exponents.
    raises ValueError, TypeError for numbers out of range
    """

    alpha: float
    beta: float
    gain: Gain = 1.0

    __repr__ = short

    def __post_init__(self) -> None:
        store(self, check_positive, "alpha")
        store(self, check_number, "beta")
        if self.alpha > 1.0 or not 0.0 <= self.beta < 1.0:
            raise ValueError(
                f"alpha must be in (0, 1] and beta in [0, 1), got {self.alpha:g} and {self.beta:g}"
            )
        object.__setattr__(self, "gain", _checked_gain(self.gain))

    @property
    def exponent(self) -> float:
        """nu = alpha^2 + beta (alpha + 1), of the error of one sample: < 1 if alpha + beta < 1."""
        return self.alpha**2 + self.beta * (self.alpha + 1.0)

    def check(self, plant: Plant, model: Plant) -> None:
        gains(self.gain, plant.space)

    def objective(self, e: Array) -> float:
        return power_loss(e, self.alpha)

    def velocity(self, at: Moment) -> Array:
        gradient = at.model.pulled(at.w, spow(at.e, self.alpha))
        return -self._gain(at.plant, at.e) * spow(gradient, self.alpha)

    def semi_implicit(self, at: Moment, step: float) -> Array:
        """With weights frozen, |e_s|^(alpha - 1) = 1 / q_s and |G_i|^(alpha - 1) = 1 / p_i,

        d = -h k E^beta P^-1 J^T Q^-1 (e + J d);

        s = Q^-1 (e + J d) and d solve Q s - J d = e, J^T s + P d / (h k E^beta) = 0, whose
        coefficients stay bounded where errors or gradients vanish.
        """
        slopes = at.model.jacobian(at.w)
        return self._frozen(slopes, at.e, slopes.T @ spow(at.e, self.alpha), at.pushed_e, at, step)

    def implicit(self, at: Moment, step: float) -> tuple[Array, int]:
        """By semi-implicit steps from w whose coefficients are taken at the last iterate."""
        change, e, near = np.zeros_like(at.w), at.pushed_e, np.inf
        for passes in range(1, _ITERATIONS + 1):
            slopes = at.model.jacobian(at.pushed_w + change)
            gradient = slopes.T @ spow(e, self.alpha)
            # e(w + d) linearised at the iterate: e + J (d - change)
            found = self._frozen(slopes, e, gradient, e - slopes @ change, at, step)
            near = float(np.max(np.abs(found - change)))
            change, e = found, at.plant.errors(at.pushed_w + found)
            if near <= 1e-13 * float(np.max(np.abs(at.pushed_w)) + np.max(np.abs(change))):
                return change, passes
        raise StepFailed(f"no solution of an implicit step in {_ITERATIONS} iterations")

    def closed(self, plant: Plant, model: Plant) -> Closed | None:
        """One sample and one output that is affine in the weights:
        e' = -C spow(e, nu), C = sum_i k_i |x_i|^(alpha + 1) (alpha + 1)^(-beta).
        """
        if not isinstance(plant, AffinePlant) or not isinstance(model, AffinePlant):
            return None
        if not plant.linear or len(plant.target) > 1:
            return None
        k = gains(self.gain, plant.space) * (self.alpha + 1.0) ** -self.beta
        direction = k * spow(model.matrix[0], self.alpha)
        return _along(direction, plant.matrix[0], self.exponent)

    def _gain(self, plant: Plant, e: Array) -> Array:
        return gains(self.gain, plant.space) * self.objective(e) ** self.beta

    def _frozen(
        self, slopes: Array, e: Array, gradient: Array, right: Array, at: Moment, step: float
    ) -> Array:
        rows, free, change = e != 0.0, gradient != 0.0, np.zeros_like(at.w)
        if not np.any(rows) or not np.any(free):
            return change
        q = np.abs(e[rows]) ** (1.0 - self.alpha)
        p = np.abs(gradient[free]) ** (1.0 - self.alpha) / (step * self._gain(at.plant, e)[free])
        part = slopes[np.ix_(rows, free)]
        matrix = np.block([[np.diag(q), -part], [part.T, np.diag(p)]])
        known = np.concatenate([right[rows], np.zeros(int(free.sum()))])
        change[free] = np.linalg.solve(matrix, known)[int(rows.sum()) :]
        return change


@checked
@dataclass(frozen=True, eq=False)
class SignLaw(Law):
    """(3), of one neuron o = h(z), z = x.w + b: w' = -sum_s k sign(x_s) sign(e_s) / h'(z_s),

    entry by entry, sign(0) = 0; x_s is the derivative of z_s in the weights, the bias's is 1.  For
    one sample e' = -c sign(e), c = sum_i k_i |x_i|.

    gain : k > 0
    alpha : in (0, 1), of the loss sum_s |e_s|^(alpha + 1) / (alpha + 1) that is recorded; the law
        does not depend on it
    floor : the least h'(z) that is divided by; where it is in force the law is another one.
        Without it targets must lie inside the range of h: at its ends h' tends to 0 with the error
    layer : sign(e) is e / layer where |e| < layer: errors then die out exponentially and are never
        0
    raises ValueError, TypeError for numbers out of range
    """

    gain: Gain = 1.0
    alpha: float = 0.5
    floor: float = 0.0
    layer: float = 0.0

    __repr__ = short

    def __post_init__(self) -> None:
        store(self, check_positive, "alpha")
        store(self, check_number, "floor", "layer")
        if self.alpha >= 1.0 or self.floor < 0.0 or self.layer < 0.0:
            raise ValueError(
                f"alpha must be in (0, 1), floor and layer >= 0, got {self.alpha:g}, "
                f"{self.floor:g} and {self.layer:g}"
            )
        object.__setattr__(self, "gain", _checked_gain(self.gain))

    def check(self, plant: Plant, model: Plant) -> None:
        gains(self.gain, plant.space)
        for one in (plant, model):
            if not isinstance(one, AffinePlant):
                raise TypeError(
                    "law (3) needs one layer, o = h(x.w + b), such as neuron(x, y): it divides by "
                    "h'(z) and takes the signs of x; PowerLaw trains any network"
                )
            if one.link is not identity and one.link is not sigmoid:
                raise TypeError(f"law (3) knows the links sigmoid and identity, got {one.link}")
        if isinstance(plant, AffinePlant) and not plant.linear and not self.floor:
            _check_inside(plant.target)

    def objective(self, e: Array) -> float:
        return power_loss(e, self.alpha)

    def velocity(self, at: Moment) -> Array:
        plant, model = at.plant, at.model
        if not isinstance(plant, AffinePlant) or not isinstance(model, AffinePlant):
            raise TypeError("law (3) needs one layer")
        signs = self._sign(at.e)
        slopes = np.maximum(plant.slopes(at.w), self.floor)
        force = np.where(signs == 0.0, 0.0, signs / np.where(signs == 0.0, 1.0, slopes))
        return -gains(self.gain, plant.space) * (np.sign(model.matrix).T @ force)

    def semi_implicit(self, at: Moment, step: float) -> Array:
        found = self._closed(at)
        size = np.maximum(np.abs(at.e), self.layer)
        e = at.pushed_e * size / np.where(size > 0.0, size + found.rate * step, 1.0)
        return found.change(at, e)

    def implicit(self, at: Moment, step: float) -> tuple[Array, int]:
        found = self._closed(at)
        e = implicit_step(at.pushed_e, found.rate, 0.0, step)
        inside = at.pushed_e * self.layer / (self.layer + found.rate * step)
        return found.change(at, np.where(np.abs(inside) < self.layer, inside, e)), 1

    def closed(self, plant: Plant, model: Plant) -> Closed | None:
        if not isinstance(plant, AffinePlant) or not isinstance(model, AffinePlant):
            return None
        if len(plant.target) > 1 or self.floor:
            return None
        direction = gains(self.gain, plant.space) * np.sign(model.matrix[0])
        return _along(direction, plant.matrix[0], 0.0, self.layer)

    def reads_jacobian(self, plant: Plant, scheme: str) -> bool:
        return False

    def _sign(self, e: Array) -> Array:
        return np.clip(e / self.layer, -1.0, 1.0) if self.layer else np.sign(e)

    def _closed(self, at: Moment) -> Closed:
        found = self.closed(at.plant, at.model)
        if found is None:
            raise ValueError(
                "implicit and semi-implicit steps of law (3) are known for one sample without a "
                "floor: use scheme='explicit'"
            )
        return found


@checked
@dataclass(frozen=True, eq=False)
class PseudoinverseLaw(Law):
    """w' = -k J^+ spow(e, nu), so that e' = -k spow(e, nu) while the rows of J are independent.

    nu : in [0, 1);  gain : k > 0, a number
    raises ValueError, TypeError for numbers out of range
    """

    nu: float
    gain: float = 1.0

    def __post_init__(self) -> None:
        store(self, check_number, "nu")
        store(self, check_positive, "gain")
        if not 0.0 <= self.nu < 1.0:
            raise ValueError(f"nu must be in [0, 1), got {self.nu:g}")

    def check(self, plant: Plant, model: Plant) -> None:
        pass

    def objective(self, e: Array) -> float:
        """|e|^2 / 2."""
        return 0.5 * float(e @ e)

    def velocity(self, at: Moment) -> Array:
        return self._move(at, -self.gain * spow(at.e, self.nu))

    def semi_implicit(self, at: Moment, step: float) -> Array:
        size = np.abs(at.e) ** (1.0 - self.nu)
        e = at.pushed_e * size / (size + self.gain * step)
        return self._move(at, e - at.pushed_e)

    def implicit(self, at: Moment, step: float) -> tuple[Array, int]:
        """With J of the beginning of the step: backward Euler where J is constant."""
        e = implicit_step(at.pushed_e, self.gain, self.nu, step)
        return self._move(at, e - at.pushed_e), 1

    def closed(self, plant: Plant, model: Plant) -> Closed | None:
        """Outputs affine in the weights, or sigmoids of such outputs: J^+ = A^+ / h'(z)."""
        if not isinstance(plant, AffinePlant) or model is not plant:
            return None
        matrix, y = plant.matrix, plant.target
        inside = plant.link is sigmoid and bool(np.all((y > 0.0) & (y < 1.0)))
        if not (plant.linear or inside) or np.linalg.matrix_rank(matrix) < len(matrix):
            return None
        return Closed(np.linalg.pinv(matrix), self.gain, self.nu)

    def reads_jacobian(self, plant: Plant, scheme: str) -> bool:
        return True

    def _move(self, at: Moment, change: Array) -> Array:
        return np.linalg.lstsq(at.model.jacobian(at.w), change, rcond=None)[0]


def gains(gain: Gain, space: ControlSpace) -> Array:
    """(W,): the gain of each flat coordinate.

    raises ValueError, TypeError for a gain that does not fit the space
    """
    trained = {b.name: b for b in space.trained}
    if not isinstance(gain, Mapping):
        given = np.asarray(gain, dtype=float)
        if given.shape not in ((), (space.size,)):
            raise ValueError(
                f"gain has shape {given.shape}, expected a number or ({space.size},), one for each "
                "weight"
            )
        return np.broadcast_to(given, (space.size,))
    for name in gain:
        check_name("block", name, list(trained))
    missing = [name for name in trained if name not in gain]
    if missing:
        raise ValueError(f"gain has no numbers for the blocks {', '.join(missing)}")
    parts = []
    for name, block in trained.items():
        shape, given = space.shape(block), np.asarray(gain[name], dtype=float)
        given = given if given.shape == () else check_array(f"gain of {name}", given, shape)
        parts.append(np.broadcast_to(given, shape).reshape(-1))
    return np.concatenate(parts)


def _checked_gain(gain: Gain) -> Gain:
    if isinstance(gain, Mapping):
        for name, part in gain.items():
            given = np.asarray(part, dtype=float)
            if not np.all(np.isfinite(given) & (given > 0.0)):
                raise ValueError(f"gain must be finite and > 0, that of {name} is not everywhere")
        return gain
    if is_array(gain) or isinstance(gain, list | tuple):
        gain = check_array("gain", np.asarray(gain), ("W",))
        if np.any(gain <= 0.0):
            raise ValueError("gain must be > 0 for every weight")
        return gain
    return check_positive("gain", gain)  # type: ignore[arg-type]  # the check is what is wanted


def _along(direction: Array, row: Array, power: float, layer: float = 0.0) -> Closed | None:
    """One score whose weights move along a fixed direction; None if the score does not move with
    them.
    """
    rate = float(row @ direction)
    if rate == 0.0:
        return None if np.any(direction) else Closed(direction[:, None], 0.0, power, layer)
    return Closed(direction[:, None] / rate, rate, power, layer)


def _check_inside(target: Array) -> None:
    if np.all((target > 0.0) & (target < 1.0)):
        return
    wrong = target[(target <= 0.0) | (target >= 1.0)][0]
    raise ValueError(
        f"target must lie inside (0, 1) for law (3) on a sigmoid neuron, one of them is {wrong:g}: "
        "there h'(z) tends to 0 with the error and the weights have no limit.  Smooth the labels, "
        "0.05 and 0.95 for 0 and 1, or give the law a floor > 0 for h'(z)"
    )
