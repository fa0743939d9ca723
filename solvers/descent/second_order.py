"""SciPy's trust-region Newton-CG, in coordinates whose Euclidean product is the space's."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy

from continuum.arrays import Array, to_host
from continuum.checks import check_count, check_positive, store
from continuum.controls import Control
from continuum.doors import checked

from ..run.solution import Solution
from ..run.status import Status
from .objective import Composite
from .run import Descent, Minimizer, OutOfDomain, refuse

NEGATIVE = 1e-9
"""A curvature is called negative below this share of the largest one met."""

_REJECTED = 60
"""After so many trust regions in a row, each a quarter of the last, no step is left."""


@checked
@dataclass(frozen=True)
class NewtonCG(Minimizer):
    """min over |d| <= Delta of (g, d) + (d, Hd) / 2 by conjugate gradients; Delta follows how well
    that predicts J.

    SciPy's trust-region Newton-CG ("trust-ncg") with the Hessian-vector product of the objective,
    in the space's own coordinates.  Near a minimum with positive curvature it squares the error
    each time.

    Where |g| <= gtol, Lanczos' method looks for a direction v of negative curvature.  If it finds
    one, the run goes on from x + t v with t as long as J falls by |(v, Hv)| t^2 / 8; if no t does
    so, it ends with Status.SADDLE.  If it finds none, the run ends, and the least curvature met is
    said: by all products of H if there are fewer unknowns than `products`, else an upper bound of
    the least eigenvalue, and no proof of a minimum.

    radius : Delta at the start, in the space's norm
    products : Hessian-vector products spent on looking; 0 ends the run at any stationary point
    Takes no admissible set and no penalty without a gradient.
    Source: Steihaug, SIAM J. Numer. Anal. 20 (1983); Nocedal and Wright, Numerical Optimization,
    algorithm 7.2.
    """

    radius: float = 1.0
    products: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "radius")
        store(self, partial(check_count, least=0), "products")

    def check(self, problem: Composite) -> None:
        """Raises TypeError for a set, or a penalty without a gradient."""
        if problem.admissible is not None:
            raise refuse(
                self, problem.admissible, "LBFGS() for a Box, GradientDescent() for other sets"
            )
        if problem.penalty is not None:
            raise refuse(
                self, problem.penalty, "GradientDescent() or Nesterov(), which take proximal steps"
            )

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from any start."""
        options = {
            "initial_trust_radius": self.radius,
            "max_trust_radius": 1000.0 * max(self.radius, 1.0),
            "gtol": 0.0,
            "maxiter": self.max_iterations + 1,
        }
        while True:
            status = _trust_region(run, start, options)
            if status is not Status.CONVERGED or not self.products:
                return run.solution(status)
            bridge = _Bridge(run)
            x = bridge.coordinates(run.last)
            least, largest, direction = lowest_curvature(
                partial(bridge.product, x), len(x), self.products
            )
            words = f"least curvature met {least:.3g}"
            if least >= -NEGATIVE * largest:
                return run.solution(status, words, least_curvature=least)
            beyond = self._escape(run, x, direction, least)
            if beyond is None or run.iterations == self.max_iterations:
                return run.solution(Status.SADDLE, words, least_curvature=least)
            start = beyond

    def _escape(self, run: Descent, x: Array, v: Array, curvature: float) -> Control | None:
        """x + t v with J lower by |curvature| t^2 / 8, t = radius, radius / 2, ...; None if that is
        below rounding.
        """
        value, gradient = run.evaluate(run.space.unflatten(x))
        v = -v if float(_Bridge(run).coordinates(gradient) @ v) > 0.0 else v
        t = self.radius
        while (fall := -curvature * t * t / 8.0) > 1e-15 * abs(value):
            beyond = run.space.unflatten(x + t * v)
            if run.value(beyond) <= value - fall:
                return beyond
            t /= 2.0
        return None


def lowest_curvature(
    product: Callable[[Array], Array], size: int, count: int
) -> tuple[float, float, Array]:
    """The least and the largest |.| of the Ritz values of a symmetric matrix, and the vector of the
    least.

    Lanczos' method, `count` products at most, orthogonalised against all vectors before, from a
    random vector of seed 0.  The least is (v, Hv) / |v|^2 of the vector, so the matrix has an
    eigenvalue at most as large; where count >= size it is the least eigenvalue itself, unless the
    random vector has no part along its vector.
    """
    v = np.random.default_rng(0).standard_normal(size)
    basis = [v / np.linalg.norm(v)]
    images: list[Array] = []
    while True:
        images.append(product(basis[-1]))
        rest = images[-1]
        for _ in range(2):  # once more for what rounding left
            for q in basis:
                rest = rest - (q @ rest) * q
        length = float(np.linalg.norm(rest))
        scale = max(float(np.linalg.norm(image)) for image in images)
        if len(images) == min(count, size) or length <= 1e-12 * scale:
            break
        basis.append(rest / length)
    q = np.array(basis)
    small = q @ np.array(images).T
    values, vectors = np.linalg.eigh(0.5 * (small + small.T))
    return float(values[0]), float(np.max(np.abs(values))), vectors[:, 0] @ q


class _Ended(Exception):
    """Leaves SciPy's loop once an iterate is the last."""


class _Bridge:
    """What SciPy calls, in coordinates whose Euclidean product is the space's, and what it visited:
    x in these coordinates, J, its gradient in them, and as a vector of coefficients.
    """

    def __init__(self, run: Descent) -> None:
        self.run, self.status, self.rejected = run, Status.LINE_SEARCH_FAILED, 0
        self.tried: tuple[Array, float, Array, Array] | None = None
        self.kept: tuple[Array, float, Array, Array] | None = None
        self.bent: tuple[Array, Callable[[Array], Array]] | None = None
        """Where the Hessian was asked for last, in these coordinates, and what applies it."""

    def coordinates(self, vector: Array) -> Array:
        """Those of a vector of coefficients."""
        return to_host(self.run.space.flatten(self.run.space.views(vector)))

    def coefficients(self, x: Array) -> Array:
        """The vector of coefficients with these coordinates."""
        return self.run.space.join(self.run.space.unflatten(x))

    def product(self, x: Array, direction: Array) -> Array:
        """The Hessian at x applied to a direction; states and costates at x are kept until it is
        asked for at another x.
        """
        if self.bent is None or not np.array_equal(self.bent[0], x):
            self.bent = None  # one at a time is held
            self.bent = x.copy(), self.run.hessian(self.coefficients(x))
        return self.coordinates(self.bent[1](self.coefficients(direction)))

    def _known(self, x: Array) -> tuple[Array, float, Array, Array]:
        value, gradient = self.run.evaluate(self.run.space.unflatten(x))
        return x.copy(), value, self.coordinates(gradient), gradient

    def evaluate(self, x: Array) -> tuple[float, Array]:
        """J and its gradient; infinity where the state is not finite, which shortens the step.

        SciPy asks again for the start, which is known.
        """
        if self.kept is not None and np.array_equal(self.kept[0], x):
            return self.kept[1:3]
        try:
            self.tried = self._known(x)
        except OutOfDomain:
            return float("inf"), np.zeros_like(x)
        return self.tried[1:3]

    def visit(self, x: Array) -> None:
        """Records an iterate; raises _Ended at the last, NotFinite where J is not finite."""
        before = self.kept
        for known in (self.tried, self.kept):
            if known is not None and np.array_equal(known[0], x):
                self.kept = known
                break
        else:
            self.kept = self._known(x)
        self.rejected = self.rejected + 1 if self.kept is before else 0
        x, value, _, gradient = self.kept
        status = self.run.accept(self.coefficients(x), value, gradient)
        if status is not None:
            self.status = status
            raise _Ended
        if self.rejected > _REJECTED:
            raise _Ended


def _trust_region(run: Descent, start: Control, options: dict[str, float]) -> Status:
    """Runs SciPy's method from a start until an iterate is the last, and says how it ended."""
    bridge = _Bridge(run)
    x = to_host(run.space.flatten(start))

    def callback(intermediate_result: "scipy.optimize.OptimizeResult") -> None:
        bridge.visit(intermediate_result.x)

    try:
        bridge.visit(x)
        scipy.optimize.minimize(
            bridge.evaluate,
            x,
            jac=True,
            hessp=bridge.product,
            method="trust-ncg",
            callback=callback,
            options=options,
        )
    except _Ended:
        pass
    return bridge.status
