"""Many pairs of convex networks at once, as rows of one array: `fit_convex` trains on these."""

from typing import TypeAlias

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.problem import LearningProblem
from continuum.readouts import OFFSET, WEIGHT

from .pair_loops import pair_steps
from .problems import convex_problem, part_names

Views: TypeAlias = tuple[Array, Array, Array, Array, Array]
"""V (K, 2, L, m, n), b (K, 2, L, m), W (K, 2, L, n, m), c (K, 2, n), d (K, 1)."""

GROUP = 2**13
"""About how many numbers the states of a group of samples have."""


class Pairs:
    """The cost of `convex_problem(x, y, ...)` as a sum over its outputs, and its gradient:

        f_p = c_0 . h^0_L - c_1 . h^1_L + d,   h_l = h_(l-1) + W_l [V_l h_(l-1) + b_l]_+,

    J_p = (1/2N) sum_k (f_p(x_k) - y_pk)^2.  A row of a flat array (K, D) holds one pair: "weight1",
    "bias1", "weight2" of r, those of s, c of r, of s, d; V and d too where they are held.  Rows go
    through the P outputs first: row i has the targets y_(i mod P).

    x : (n, N);  y : (P, N);  the others as in `convex_problem`, which raises for what is wrong
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        layers: int,
        hidden: int = 1,
        *,
        offset: bool = True,
        least: float = 1e-3,
        identity_inputs: bool = False,
    ) -> None:
        self.problem: LearningProblem = convex_problem(
            x,
            y,
            layers,
            hidden=hidden,
            offset=offset,
            least=least,
            identity_inputs=identity_inputs,
        )
        (self.units, samples), self.outputs = x.shape, len(y)
        self.layers, self.hidden, self.identity_inputs = layers, hidden, identity_inputs
        self.x, self.y = x, y
        n, m = self.units, hidden
        self.part = layers * m * (2 * n + 1)
        self.size = 2 * (self.part + n) + 1
        self.trained, self._rule = np.ones(self.size), np.zeros((3, self.size))
        low, high = self._rule[1:]
        low[:], high[:] = -np.inf, np.inf
        V, _, W, c, _ = self.views(low[None])
        for array, number in ((V, 0.0), (W, 0.0), (c, least)):
            array[:] = number
        self.views(high[None])[1][:] = 0.0
        if identity_inputs:
            self.views(self.trained[None])[0][:] = 0.0
        self.trained[-1] = float(offset)
        unit = 8 if samples < 8 * 24 else 32  # of vectors, and of those that a loop takes at once
        units = -(-samples // unit)
        groups = -(-units // max(GROUP // (2 * (layers + 1) * n * unit), 1))
        length = unit * -(-units // groups)
        rows = np.concatenate([x, y, np.full((1, samples), 1.0 / samples)])
        rows = np.pad(rows, ((0, 0), (0, groups * length - samples)))
        self._data = _aligned(rows.reshape(len(rows), groups, length).swapaxes(0, 1))
        self._room = _aligned(np.zeros((2 * (layers + 2) * n + 3, length)))

    def views(self, flat: Array) -> Views:
        """The blocks of K pairs as views of their rows (K, D)."""
        rows, n, m, layers = len(flat), self.units, self.hidden, self.layers
        parts = flat[:, : 2 * self.part].reshape(rows, 2, self.part)
        first, second = layers * m * n, layers * m * (n + 1)
        return (
            parts[..., :first].reshape(rows, 2, layers, m, n),
            parts[..., first:second].reshape(rows, 2, layers, m),
            parts[..., second:].reshape(rows, 2, layers, n, m),
            flat[:, 2 * self.part : -1].reshape(rows, 2, n),
            flat[:, -1:],
        )

    def rows(self, control: Control) -> Array:
        """(P, D): the pairs of a control of `problem`."""
        flat = np.zeros((self.outputs, self.size))
        V, b, W, c, d = self.views(flat)
        for p, names in enumerate(part_names(self.outputs)):
            for i, name in enumerate(names):
                inputs = control.get(f"{name}.weight1", np.eye(self.hidden, self.units))
                V[p, i], b[p, i] = inputs, control[f"{name}.bias1"]
                W[p, i] = control[f"{name}.weight2"]
            c[p] = control[WEIGHT][p].reshape(self.outputs, 2, self.units)[p]
        d[:, 0] = control.get(OFFSET, 0.0)
        return flat

    def control(self, rows: Array, like: Control) -> Control:
        """The control of P rows; `like` has the entries of "readout.W" whose signs are 0."""
        V, b, W, c, d = self.views(rows)
        read = np.array(like[WEIGHT]).reshape(self.outputs, self.outputs, 2, self.units)
        values: dict[str, Array] = {OFFSET: d[:, 0]}
        for p, names in enumerate(part_names(self.outputs)):
            read[p, p] = c[p]
            for i, name in enumerate(names):
                values[f"{name}.weight1"] = V[p, i]
                values[f"{name}.bias1"], values[f"{name}.weight2"] = b[p, i], W[p, i]
        values[WEIGHT] = read.reshape(self.outputs, -1)
        space = self.problem.space
        return space.sample(**{block.name: values[block.name] for block in space.trained})

    def gradients(self, flat: Array) -> tuple[Array, Array]:
        """Values (K,) and gradients (K, D); that in V is 0 where V = I is held."""
        return self._steps(flat, flat, 0.0, 0, 0)

    def train(self, flat: Array, before: Array, step: float, first: int, count: int) -> Array:
        """Iterations first, ..., first + count - 1 of FixedStep(step, momentum="nesterov"), in
        place: `flat` becomes x_(first + count), `before` the iterate before it.

        returns the values (K,) at the end
        """
        return self._steps(flat, before, step, first, count)[0]

    def _steps(
        self, flat: Array, before: Array, step: float, first: int, count: int
    ) -> tuple[Array, Array]:
        """Values and gradients after the iterations."""
        if count:
            self._rule[0] = step * self.trained
        point, found, values = np.empty_like(flat), np.empty_like(flat), np.empty(len(flat))
        sizes = self.layers, self.units, self.hidden, self.identity_inputs
        rows = flat, before, point, found
        pair_steps(first, count, sizes, rows, self._rule, values, self._data, self._room)
        return values, found

    def gradients_in_numpy(self, flat: Array) -> tuple[Array, Array]:
        """The reference of `gradients`: all pairs and samples in arrays (K, 2, n, N)."""
        V, b, W, c, d = self.views(flat)
        found = np.empty_like(flat)
        dV, db, dW, dc, dd = self.views(found)
        targets = self.y[np.arange(len(flat)) % self.outputs]
        h = np.broadcast_to(self.x, (len(flat), 2, *self.x.shape))
        states, outputs = [], []
        for layer in range(self.layers):
            states.append(h)
            outputs.append(np.maximum(V[:, :, layer] @ h + b[:, :, layer, :, None], 0.0))
            h = h + W[:, :, layer] @ outputs[-1]
        signed = c * np.array([1.0, -1.0])[:, None]
        residual = np.einsum("kpi,kpis->ks", signed, h) + d - targets
        values = 0.5 * np.mean(residual**2, axis=1)
        residual = residual / self.x.shape[1]
        dd[:, 0] = np.sum(residual, axis=1)
        dc[:] = np.einsum("ks,kpis->kpi", residual, h) * np.array([1.0, -1.0])[:, None]
        p = signed[..., None] * residual[:, None, None]
        for layer in reversed(range(self.layers)):
            h, a = states[layer], outputs[layer]
            dW[:, :, layer] = p @ a.swapaxes(-1, -2)
            r = np.where(a > 0.0, W[:, :, layer].swapaxes(-1, -2) @ p, 0.0)
            dV[:, :, layer] = r @ h.swapaxes(-1, -2)
            db[:, :, layer] = np.sum(r, axis=-1)
            p = p + V[:, :, layer].swapaxes(-1, -2) @ r
        return values, found


def _aligned(array: Array) -> Array:
    """A contiguous copy that begins at a multiple of 64 bytes, where vectors are read whole."""
    room = np.empty(array.size + 8)
    skipped = -(room.ctypes.data // 8) % 8
    found = room[skipped : skipped + array.size].reshape(array.shape)
    found[:] = array
    return found
