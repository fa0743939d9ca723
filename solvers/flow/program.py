"""From networks, controls and methods to what the compiled loops of chains take.

A chain whose maps are all dense, of a trained control or one that is constant in time, with an
explicit tableau and NumPy's arrays, is lowered once: the table of links depends on the network
alone.  Everything else stays on the generic path, which is the reference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array, is_numpy
from continuum.compiled import FROM_VALUE, IDENTITY
from continuum.controls import Control, ControlPath, FunctionControl
from continuum.kernels import Dense
from continuum.networks import Bottleneck, Network, NeuralODE, NeuralODE2, SymmetricLayer, WidthDepth

from ..steps.tableaux import RungeKutta, Stepper
from . import chain_loops as loops
from .chain_loops import Blocks, Method, Program

KINDS = {"static": loops.STATIC, "layers": loops.LAYERS, "nodes": loops.NODES}
_NUMBERS = np.empty(0)


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network as a program.

    shapes : name of every block, in the order of the program -> its shape (R, C), C = 1 for offsets
    rows : rows of the tape, for each stage
    changed : rows of the tape of tangents
    """

    program: Program
    shapes: Mapping[str, tuple[int, int]]
    rows: int
    changed: int

    def arrays(self, blocks: Mapping[str, Array], static: Sequence[bool]) -> tuple[Array, ...]:
        """(T, R, C) of every block, (0, R, C) for those that are not among `blocks`."""
        found = [_ABSENT] * loops.WIDTH
        for k, (name, (rows, columns)) in enumerate(self.shapes.items()):
            x = blocks.get(name)
            if x is not None:
                found[k] = np.ascontiguousarray(x).reshape(-1, rows, columns)
        return tuple(found)


_ABSENT = np.empty((0, 1, 1))


def _maps(network):
    if isinstance(network, WidthDepth | SymmetricLayer):
        w = network.weights
        n = len(w)
        maps = [("linear", "kernel", n, n, -1.0, w, w), ("offset", "bias"), ("pointwise", network.activation)]
        if isinstance(network, SymmetricLayer):
            maps.append(("adjoint", "kernel", n, n, 1.0, w, w))
        return maps
    d = network.units
    if isinstance(network, NeuralODE):
        return [("linear", "weight", d, d, 1.0, None, None), ("offset", "bias"), ("pointwise", network.activation)]
    if isinstance(network, NeuralODE2):
        return [("pointwise", network.activation), ("linear", "weight", d, d, 1.0, None, None), ("offset", "bias")]
    if isinstance(network, Bottleneck):
        h = network.hidden
        return [("linear", "weight1", h, d, 1.0, None, None), ("offset", "bias1"), ("pointwise", network.activation),
                ("linear", "weight2", d, h, 1.0, None, None), ("offset", "bias2")]
    return None


@lru_cache(maxsize=64)
def lower(network: Network) -> Lowered | None:
    """The program of a network, None if it is not a chain of dense maps."""
    if not isinstance(network, WidthDepth|SymmetricLayer|NeuralODE|NeuralODE2|Bottleneck):
        return None
    if hasattr(network, "kernel") and not isinstance(network.kernel, Dense):
        return None
    units = len(network.weights)
    links, numbers, shapes, weights = [], [], {}, [_NUMBERS]
    names = {}

    def measure(w):
        if w is None or np.all(w == 1.0):
            return -1
        start = sum(len(x) for x in weights)
        weights.append(w)
        return start

    def block(name, shape):
        shapes.setdefault(name, shape)
        return list(shapes).index(name)

    current = None
    rows_now = units

    def fresh(product=loops.NOTHING, matrix=0, rows=None, w_in=-1, w_out=-1, sign=1.0):
        return dict(product=product, matrix=matrix, offset=-1, activation=None, rows=rows,
                    columns=rows_now, w_in=w_in, w_out=w_out, sign=sign)

    table = []
    for m in _maps(network):
        kind = m[0]
        if kind in ("linear", "adjoint"):
            _, name, r, c, sign, w_in, w_out = m
            k = block(name, (r, c))
            if kind == "linear":
                link = fresh(loops.FORWARD, k, r, measure(w_in), measure(w_out), sign)
            else:
                link = fresh(loops.ADJOINT, k, c, measure(w_out), measure(w_in), sign)
            table.append(link)
            rows_now = link["rows"]
        elif kind == "offset":
            if not table or table[-1]["offset"] >= 0 or table[-1]["activation"] is not None:
                table.append(fresh(rows=rows_now))
            table[-1]["offset"] = block(m[1], (rows_now, 1))
        else:
            if not table or table[-1]["activation"] is not None:
                table.append(fresh(rows=rows_now))
            table[-1]["activation"] = m[1]
    tape = units
    change = units
    inside = 0
    at, dat = 0, 0
    for n, link in enumerate(table):
        act = link["activation"]
        code = IDENTITY if act is None else act.code
        if code is None:
            return None
        parameter = 0.0 if act is None else getattr(act, "parameter", 0.0)
        last = n == len(table) - 1
        argument = output = -1
        if code not in FROM_VALUE:
            argument, tape = tape, tape + link["rows"]
        if not last or (code in FROM_VALUE and code != IDENTITY):
            output, tape = tape, tape + link["rows"]
        dchange, change = change, change + link["rows"]
        doutput = -1
        if not last:
            doutput = dchange
            if code != IDENTITY:
                doutput, change = change, change + link["rows"]
        links.append([link["product"], link["matrix"], link["offset"], code, link["rows"], link["columns"],
                      at, output, argument, link["w_in"], link["w_out"], inside, dat, dchange, doutput])
        numbers.append([link["sign"], parameter])
        at, dat = output, doutput
        if link["product"] != loops.NOTHING:
            inside += link["rows"] + link["columns"]
    program = Program(np.array(links, dtype=np.int64), np.array(numbers), np.concatenate(weights))
    return Lowered(program, shapes, tape, change)
