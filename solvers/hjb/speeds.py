"""Controls as speeds between the extreme velocities of the units, for many states at once.

Where the velocities that a unit can have at (f, t) fill the interval [lo_i, hi_i],

    f_i' = lo_i(f, t) + theta_i(t) (hi_i(f, t) - lo_i(f, t)),    0 <= theta_i <= 1,

has the same solutions as the controlled equation, with N unknowns per layer in place of N + N^2.
theta is constant on the layers of the problem's mesh, and a layer is one step of Heun's method;
the gradient is that of the discrete cost, exactly.  These are the references of `speed_loops`, for
every cost of the state; they take L states as columns, each with a theta of its own.
"""

from dataclasses import dataclass

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array

from .separable import SeparableHamiltonian


@dataclass(frozen=True, eq=False)
class Speeds:
    """See the head of this file.

    hamiltonian : of the kind "interval", with a set that bounds every entry of the control by the
        same interval in each block
    raises ValueError for another one
    """

    hamiltonian: SeparableHamiltonian

    def __post_init__(self) -> None:
        h = self.hamiltonian
        if h.kind != "interval" or None in h.bounds.values():
            raise ValueError(
                "speeds between extreme velocities need a set that bounds every entry of the "
                "control on its own, and no penalty"
            )

    @property
    def steps(self) -> Array:
        """(K,): the lengths of the layers."""
        return self.hamiltonian.problem.mesh.steps

    def preactivations(self, f: Array, t: float, layer: int) -> Array:
        """(2, N, L): the least and the largest u, t in this layer."""
        ends = self.hamiltonian.reach(f, t, layer)
        return np.stack([np.broadcast_to(u, f.shape) for u in ends])

    def velocity(self, f: Array, theta: Array, t: float, layer: int) -> Array:
        """(N, L)."""
        low, high = self._psi.value(self.preactivations(f, t, layer))
        return low + theta * (high - low)

    def pulled_back(
        self, f: Array, theta: Array, t: float, layer: int, q: Array
    ) -> tuple[Array, Array]:
        """The derivatives of sum_i q_i velocity_i in f and in theta, (N, L) each."""
        h, u = self.hamiltonian, self.preactivations(f, t, layer)
        (low, high), slopes = self._psi.value(u), self._psi.derivative(u)
        shares = slopes[0] * (1.0 - theta) * q, slopes[1] * theta * q
        rows, inputs = h.rows, h.rows.inputs(f)
        back = np.zeros_like(f)
        if rows.block in h.bounds:
            least, most = h.bounds[rows.block]  # type: ignore[misc]  # checked when it was made
            up, down = (inputs > 0.0), (inputs < 0.0)
            back += (least * up + most * down) * np.sum(shares[0], axis=0)
            back += (most * up + least * down) * np.sum(shares[1], axis=0)
        else:
            back += h.held(t, layer)[rows.block].T @ (shares[0] + shares[1])
        slope = np.ones_like(f) if rows.phi is None else rows.phi.derivative(f)
        measure = np.ones(len(f)) if rows.weights is None else rows.weights
        return rows.sign * measure[:, None] * slope * back, q * (high - low)

    def run(self, f: Array, theta: Array) -> tuple[Array, Array]:
        """The states at the ends of the layers (K + 1, N, L) from f (N, L) with theta (K, N, L),
        and the costs (L,); a running cost by the trapezoid rule.
        """
        h, mesh = self.hamiltonian, self.hamiltonian.problem.mesh
        states = np.empty((mesh.layers + 1, *f.shape))
        states[0], total = f, np.zeros(f.shape[1])
        for k, tau in enumerate(mesh.steps):
            now, then = mesh.nodes[k], mesh.nodes[k + 1]
            first = self.velocity(states[k], theta[k], now, k)
            second = self.velocity(states[k] + tau * first, theta[k], then, k)
            states[k + 1] = states[k] + 0.5 * tau * (first + second)
            if h.has_running_cost:
                total += 0.5 * tau * (h.running(states[k], now) + h.running(states[k + 1], then))
        return states, total + h.terminal(states[-1])

    def gradient(self, states: Array, theta: Array) -> Array:
        """(K, N, L): the derivative of the costs in theta, from the states of `run`."""
        h, mesh = self.hamiltonian, self.hamiltonian.problem.mesh
        functional, w = h.problem.functional, h.weights[:, None]
        ones, found = np.ones(theta.shape[2]), np.empty_like(theta)
        q = w * functional.terminal_vjp(states[-1], {}, ones)[0]
        for k in range(mesh.layers - 1, -1, -1):
            tau, f, now, then = mesh.steps[k], states[k], mesh.nodes[k], mesh.nodes[k + 1]
            if h.has_running_cost:
                q = q + 0.5 * tau * w * functional.running_vjp(states[k + 1], {}, then, ones)[0]
            middle = f + tau * self.velocity(f, theta[k], now, k)
            back, own = self.pulled_back(middle, theta[k], then, k, 0.5 * tau * q)
            early, other = self.pulled_back(f, theta[k], now, k, 0.5 * tau * q + tau * back)
            found[k], q = own + other, q + back + early
            if h.has_running_cost:
                q = q + 0.5 * tau * w * functional.running_vjp(f, {}, now, ones)[0]
        return found

    def rows(self, states: Array, theta: Array, first: int = 0) -> dict[str, Array]:
        """The values of the trained blocks on successive layers (K, *block.shape) whose velocities
        at the start of the layers are those of theta: means of the extreme rows, in the proportion
        that theta is of the preactivations.

        states, theta : (K, N), on the layers first, first + 1, ...
        """
        h, psi, nodes = self.hamiltonian, self._psi, self.hamiltonian.problem.mesh.nodes
        share = np.empty_like(theta)
        for k, f in enumerate(states):
            layer = first + k
            low, high = self.preactivations(f[:, None], float(nodes[layer]), layer)[..., 0]
            wanted = psi.value(low) + theta[k] * (psi.value(high) - psi.value(low))
            least, most = np.zeros_like(low), np.ones_like(low)
            for _ in range(53):
                middle = 0.5 * (least + most)
                below = psi.value(low + middle * (high - low)) < wanted
                least, most = np.where(below, middle, least), np.where(below, most, middle)
            share[k] = np.where(theta[k] <= 0.0, 0.0, np.where(theta[k] >= 1.0, 1.0, most))
        values: dict[str, Array] = {}
        for name, bounds in h.bounds.items():
            low, high = bounds  # type: ignore[misc]  # every entry is bounded
            if name != h.rows.block:
                values[name] = low + share * (high - low)
                continue
            signs = np.sign([h.rows.inputs(f[:, None])[:, 0] for f in states])[:, None, :]
            spread = (high - low) * (share - 0.5)
            values[name] = 0.5 * (low + high) + signs * spread[:, :, None]
        return values

    @property
    def _psi(self):  # noqa: ANN202
        return self.hamiltonian.rows.psi or identity
