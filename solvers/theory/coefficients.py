"""The assumptions of theorems on a and b, from their values over time."""

from collections import deque
from math import sqrt

import numpy as np

from continuum.arrays import Array, to_host
from continuum.controls import ControlPath, FunctionControl
from continuum.kernels import KernelFormat
from continuum.meshes import TimeMesh
from continuum.networks import WidthDepth

from .hypotheses import Hypothesis, judged
from .stability import (
    constant_values,
    coordinates,
    least_eigenvalue,
    matrix_of,
    numerical_rank,
)
from .time_integrals import cuts_at_changes, time_integrals

INTEGRALS: tuple[str, ...] = ("|B|", "|a|", "sup_z int |b| dy", "sup |b|", "int |a|")


class CoefficientHypotheses:
    """What theorems ask about a and b, from one pass over time; norms are those of L^2(Y).

    A control constant on layers is sampled in their middles, one linear between nodes at both ends
    of each layer, where norms of b, convex in t if b is linear in its block, are largest; integrals
    by the trapezoid rule are then upper bounds.  Functions of time are sampled in the middles of 64
    layers.  Their integrals are adaptive, and so are those of linear controls of LowRank kernels,
    whose b is quadratic in t.

    integrals : int_0^T of |B|, |a|, sup_z int |b| dy, sup |b|, int |a|, by these names
    settled : whether an integral is known; else no number should be built on it
    how : how the integrals were found
    """

    def __init__(self, network: WidthDepth, control: ControlPath, initial: Array | None) -> None:
        constant = constant_values(control)
        network.check_control("control", control)
        self.constant, self.functions = constant is not None, isinstance(control, FunctionControl)
        self.network, self.control, mesh = network, control, control.mesh
        if self.constant or self.functions:
            mesh = TimeMesh(mesh.horizon, 1 if self.constant else 64, mesh.grading)
        self.horizon = mesh.horizon
        self._sample_layers(mesh)
        kernel = network.kernel
        quadratic = isinstance(kernel, KernelFormat) and not kernel.linear and self._linear
        if (self.functions or quadratic) and not self.constant:
            self._integrate()
        self.start = self.start_l1 = self.potential = None
        if initial is not None:
            grid, f = network.grid, to_host(initial)
            self.start = float(np.linalg.norm(coordinates(network, f), axis=0).max())
            self.start_l1 = float(np.max(grid.integrate(np.abs(f))))
            if constant is not None:
                u = to_host(network.preactivation(initial, constant))
                self.potential = float(np.max(grid.integrate(network.activation.antiderivative(u))))

    def _sample_layers(self, mesh: TimeMesh) -> None:
        blocks = self.control.blocks
        linear = not (self.constant or self.functions) and any(b.time == "nodes" for b in blocks)
        self._linear = linear
        nodes, norms, weights = mesh.nodes, [], []
        recent: deque[tuple[Array, Array]] = deque(maxlen=5)
        variation, sizes = np.zeros((3, 2)), np.zeros(2)
        self.highest = self.asymmetry = self.scale = self.drift = 0.0
        self.least = np.inf
        last = 0.5 * float(nodes[-2] + nodes[-1])
        kernel = self.control.at_layer(0, last)["kernel"]
        self.factored = self.network.kernel.factors(kernel) is not None
        self.s, self.a = self._sample(mesh.layers - 1, float(nodes[-1]) if linear else last)
        for k, step in enumerate(mesh.steps.tolist()):
            start, end = float(nodes[k]), float(nodes[k + 1])
            times = (start, end) if linear else (0.5 * (start + end),)
            samples = [self._sample(k, t) for t in times]
            for s, a in samples:
                norms.append(self._norms(s, a))
                weights.append(step / len(samples))
                self.highest = max(self.highest, float(norms[-1][3]))
                self.scale = max(self.scale, float(norms[-1][0]))
                self.least = min(self.least, least_eigenvalue(s))
                skew = float(np.abs(s - s.T).max()) / max(float(np.abs(s).max()), 1e-300)
                self.asymmetry = max(self.asymmetry, skew)
            s, a = (np.mean([pair[i] for pair in samples], axis=0) for i in range(2))
            self.drift += step * float(np.linalg.norm(s - self.s))
            sizes += step * np.array([np.linalg.norm(s), np.linalg.norm(a)])
            recent.append((s, a))
            for level, stride in enumerate((1, 2, 4)):
                if k and k % stride == 0:
                    old = recent[-1 - stride]
                    change = np.array([np.linalg.norm(s - old[0]), np.linalg.norm(a - old[1])])
                    variation[level] += stride * step * change
        self.changes = (variation / np.where(sizes > 0.0, sizes, 1.0)).max(axis=1)
        self.integrals = dict(
            zip(INTEGRALS, (np.array(weights) @ np.array(norms)).tolist(), strict=True)
        )
        self.settled: dict[str, bool] = dict.fromkeys(INTEGRALS, True)
        self.how = "from the values at the nodes of Y"
        if linear:
            self.how += ", at most: the trapezoid rule on layers, where norms are convex"

    def _integrate(self) -> None:
        """The integrals again, of functions of time."""
        samples = min(4096, max(1024, 2**22 // len(self.network.grid) ** 2))

        def size(t: float) -> float:
            s, a = self._sample(self.control.mesh.layer_of(t), t)
            return float(np.linalg.norm(s) + np.linalg.norm(a))

        def norms(t: float) -> Array:
            return self._norms(*self._sample(self.control.mesh.layer_of(t), t))

        ends = np.array([0.0, *self.control.breakpoints, self.horizon])
        found = time_integrals(norms, cuts_at_changes(size, ends, samples))
        self.integrals = dict(zip(INTEGRALS, found.values.tolist(), strict=True))
        self.settled = dict(zip(INTEGRALS, found.settled.tolist(), strict=True))
        self.how = f"adaptive in time; peaks between {samples} even times are not seen"

    def _sample(self, layer: int, t: float) -> tuple[Array, Array]:
        """B and a at t in orthonormal coordinates."""
        values = self.control.at_layer(layer, t)
        bias = coordinates(self.network, to_host(values["bias"])[:, None])[:, 0]
        return matrix_of(self.network, values), bias

    def _norms(self, s: Array, a: Array) -> Array:
        """The integrands of `integrals`."""
        roots = np.sqrt(self.network.weights[self.network.weights > 0])
        b = np.abs(s) / roots[:, None] / roots
        # |B|, faster than by singular values
        largest = sqrt(max(0.0, float(np.linalg.eigvalsh(s.T @ s)[-1])))
        columns = float((roots**2 @ b).max())
        return np.array([largest, np.linalg.norm(a), columns, b.max(), roots @ np.abs(a)])

    def finite(self, name: str, integral: str) -> Hypothesis:
        """That an integral over (0, T) is finite."""
        number = self.integrals[integral]
        if not self.network.kernel.bounded and integral not in ("|a|", "int |a|"):
            return Hypothesis(name, "no", number, "on this grid; B is unbounded: it grows with N")
        if self.settled[integral]:
            return judged(name, bool(np.isfinite(number)), number, self.how)
        phrase = "where adaptive quadrature stopped, not settled: singular, or changing too fast"
        return Hypothesis(name, "undecided", number, phrase)

    def autonomous(self) -> Hypothesis:
        phrase = (
            "a and b are constant in time"
            if self.constant
            else "change of a or b per layer, over its size"
        )
        return judged("autonomous", self.constant, float(self.changes[0]), phrase)

    def monotone(self) -> Hypothesis:
        phrase = "least eigenvalue of B_s on this grid"
        if -1e-8 * self.scale < self.least < 0.0:
            return Hypothesis(
                "B_s >= 0", "undecided", self.least, phrase + ", within the error of quadrature"
            )
        return judged("B_s >= 0", self.least >= 0.0, self.least, phrase)

    def symmetric(self) -> Hypothesis:
        return judged(
            "B symmetric",
            self.asymmetry <= 1e-12,
            self.asymmetry,
            "max |b - b*| / max |b| on this grid",
        )

    def converging(self) -> Hypothesis:
        """a^tau -> a and B^tau -> B in L^1(0, T) as the layers tau shrink (E02).

        Read from the sum of changes times tau, which must tend to 0.
        """
        name, number = "coefficients converge strongly in depth", float(self.changes[0])
        if self.constant:
            return Hypothesis(name, "yes", 0.0, "constant in time: the same at every depth")
        if self.functions:
            falls = bool((self.changes[:2] <= 0.6 * self.changes[1:]).all())
            phrase = (
                f"change per layer over size, {'' if falls else 'not '}halved from 16 to 32 "
                f"to 64 layers"
            )
            return Hypothesis(name, "yes" if falls else "undecided", number, phrase)
        phrase = "change per layer over size; one depth does not show a limit"
        if number > 0.5:
            phrase += "; if it stays as large, the limit is weak only, which is not enough (LM-04)"
        return Hypothesis(name, "undecided", number, phrase)

    def rank(self) -> Hypothesis:
        """Of finite rank by its format, or by a gap in the singular values."""
        name, mu = "B of finite rank", np.linalg.svd(self.s, compute_uv=False)
        if not self.network.kernel.bounded:
            return Hypothesis(name, "no", float(len(mu)), "nodes; an unbounded B is not")
        rank, gap, _ = numerical_rank(mu)
        if self.factored:
            phrase = "rank; b is stored as a finite sum of products"
            return Hypothesis(name, "yes", float(rank), phrase)
        if gap:
            phrase = f"rank, of {len(mu)}: the other singular values vanish"
            return Hypothesis(name, "yes", float(rank), phrase)
        phrase = (
            f"rank, of {len(mu)}: no gap in the singular values, one grid does not tell; if "
            f"infinite, false (LM-26)"
        )
        return Hypothesis(name, "undecided", float(rank), phrase)

    def reached(self, name: str, power: int) -> Hypothesis:
        """a in R(B) (power 2) or R(B^1/2) (power 1), which agree for B of finite rank.

        Else Picard's sum of (a, phi_l)^2 / mu_l^power.
        """
        size = float(np.linalg.norm(self.a))
        if size == 0.0:
            return Hypothesis(name, "yes", 0.0, "a = 0")
        left, mu, _ = np.linalg.svd(self.s)
        rank, gap, error = numerical_rank(mu)
        parts = left.T @ self.a
        if gap or (self.factored and rank < len(mu)):
            outside = float(np.linalg.norm(parts[rank:])) / size
            phrase = "share of |a| outside R(B)"
            if self.network.kernel.bounded:
                phrase += ", B being of finite rank"
            if error > 1e-8:
                phrase += f"; rounding of b changes R(B) by {error:.2g}"
            if error > 1e-4 or max(error, 1e-8) < outside <= 10.0 * error:
                return Hypothesis(name, "undecided", outside, phrase)
            return judged(name, outside <= max(error, 1e-8), outside, phrase)
        total = float(np.sum(parts[:rank] ** 2 / mu[:rank] ** power))
        phrase = (
            "Picard's sum on this grid, finite on every grid: ask `steady_state` how it "
            "changes with N"
        )
        return Hypothesis(name, "undecided", total, phrase)
