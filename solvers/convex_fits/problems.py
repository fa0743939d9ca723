"""Fits by convex residual networks, and by differences of two, as learning problems."""

import numpy as np

from continuum.activations import relu
from continuum.arrays import Array
from continuum.checks import (
    check_array,
    check_count,
    check_number,
    check_positive,
    check_rng,
    check_type,
)
from continuum.controls import Control
from continuum.doors import checked
from continuum.meshes import TimeMesh
from continuum.networks import Bottleneck, DirectSum
from continuum.networks.network import Network
from continuum.problem import LearningProblem
from continuum.readouts import OFFSET, WEIGHT, SignedReadout
from continuum.sets import Box

Draw = float | tuple[float, float]
"""One number for all entries, or the ends (low, high) of a uniform distribution."""


@checked
def convex_problem(
    x: Array,
    y: Array,
    layers: int,
    *,
    hidden: int = 1,
    difference: bool = True,
    offset: bool = True,
    least: float = 1e-3,
    identity_inputs: bool = False,
) -> LearningProblem:
    """minimise  (1/2N) sum_i |f(x_i) - y_i|^2,   f_p = r_p - s_p + d_p,   r_p, s_p = c^T h_L,

    h_0 = x,   h_l = h_{l-1} + W_l [V_l^T h_{l-1} - b_l]_+,   V, W, b >= 0,   c >= least:

    L layers of Bottleneck(n, relu, m) in steps of length 1, with "weight1" = V^T (L, m, n), "bias1"
    = -b (L, m), "weight2" = W (L, n, m), "bias2" fixed at 0, read off by SignedReadout.

    r_p and s_p are convex and nondecreasing on all of R^n because V, W, c >= 0, whatever the sign
    of b and x. Inputs x >= 0 are asked for because of b >= 0: where x <= 0, no V^T h - b is
    positive, no unit acts, and f = (c_r - c_s)^T x + d cannot bend. For x >= 0 little is lost by
    b >= 0: a unit with b < 0 acts on all of the data, and has no kink there.

    x : (n, N), or (N,) for n = 1, entries >= 0
    y : (P, N), or (N,) for P = 1
    layers : L >= 1;  hidden : m >= 1, the units of a layer
    difference : r_p - s_p, in parts "r", "s", or "r0", "s0", "r1", ... for several outputs; if
        False r_p alone, in no part for one output (blocks "weight1", ...), else in "r0", "r1", ...
    offset : whether d is trained; if False it is held at 0
    least : > 0, the smallest c
    identity_inputs : V = I held, for hidden = n: the simplified network (10)
    raises ValueError for inputs < 0, layers < 1, hidden != n with identity_inputs
    Source: Nar and Sastry (2018), (7), (10), (11) and section 3.1.
    """
    x, y = as_rows("x", x), as_rows("y", y)
    units, samples = x.shape
    check_array("y", y, ("P", samples))
    if np.any(x < 0.0):
        raise ValueError(
            f"x must be >= 0, the data of a convex network lie in [0, M]^n, got {x.min():g}: "
            f"shift the inputs"
        )
    for name, flag in (("difference", difference), ("offset", offset)):
        check_type(name, flag, bool)
    hidden, least = check_count("hidden", hidden), check_positive("least", least)
    if check_type("identity_inputs", identity_inputs, bool) and hidden != units:
        raise ValueError(
            f"hidden must be {units}, the number of inputs, with identity_inputs, got {hidden}"
        )
    one, outputs = Bottleneck(units, relu, hidden), len(y)
    names = part_names(outputs, difference)
    parts = [name for pair in names for name in pair]
    network: Network = DirectSum(**dict.fromkeys(parts, one)) if parts else one
    prefixes = [f"{name}." for name in parts] or [""]
    fixed: dict[str, Array | float] = {f"{prefix}bias2": 0.0 for prefix in prefixes}
    bounds = {f"{prefix}weight2": (0.0, np.inf) for prefix in prefixes}
    bounds |= {f"{prefix}bias1": (-np.inf, 0.0) for prefix in prefixes}
    if identity_inputs:
        fixed |= {f"{prefix}weight1": np.eye(units) for prefix in prefixes}
    else:
        bounds |= {f"{prefix}weight1": (0.0, np.inf) for prefix in prefixes}
    own = [1, -1] if difference else [1]
    return LearningProblem(
        network,
        np.tile(x, (len(prefixes), 1)),
        y,
        network.controls(TimeMesh(float(check_count("layers", layers)), layers), fixed=fixed),
        readout=SignedReadout(
            np.kron(np.eye(outputs, dtype=int), np.repeat(own, units)[None, :]),
            fixed={} if offset else {OFFSET: 0.0},
        ),
        admissible=Box(bounds | {WEIGHT: (least, np.inf)}),
    )


def part_names(outputs: int, difference: bool = True) -> tuple[tuple[str, ...], ...]:
    """The parts of each output of a `convex_problem`: (("r", "s"),) for one difference, (("r0",
    "s0"), ("r1", "s1"), ...) for several; (("r0",), ...) without s, and ((),) for one network
    alone.
    """
    if outputs == 1:
        return (("r", "s") if difference else (),)
    return tuple((f"r{p}", f"s{p}") if difference else (f"r{p}",) for p in range(outputs))


@checked
def convex_start(
    problem: LearningProblem,
    rng: np.random.Generator | None = None,
    biases: Draw = (0.0, 1.0),
    *,
    weights: Draw | None = None,
    inputs: Draw | None = None,
    readout: Draw | None = None,
) -> Control:
    """A start of a `convex_problem`: b, W, V and c as numbers or uniform draws, offset 0.

    rng : the generator of seed 0 if None. Draws are made part by part, all b first, then V, then W,
        then c, each in the order of its block; numbers draw nothing
    biases : b >= 0
    weights : W >= 0; uniform in (0, .1 / m) if None
    inputs : V >= 0; uniform in (0, 2 / n) if None; of no use where V = I is held
    readout : c >= least; uniform in (least, least + .2 / sqrt(n)) if None
    raises ValueError for numbers below these bounds, TypeError for a problem of another kind
    """
    rng = check_rng("rng", rng)
    space, box = check_type("problem", problem, LearningProblem).space, problem.admissible
    if not isinstance(box, Box) or WEIGHT not in box.bounds:
        raise TypeError(f"problem must be made by convex_problem, its set is {box!r}")
    blocks = {block.name: block for block in space.trained}
    first = next(block for block in space.blocks if block.name.endswith("weight1"))
    hidden, units = first.shape
    least = box.bounds[WEIGHT][0]
    draws: dict[str, tuple[str, Draw, float]] = {
        "bias1": ("biases", biases, 0.0),
        "weight1": ("inputs", (0.0, 2.0 / units) if inputs is None else inputs, 0.0),
        "weight2": ("weights", (0.0, 0.1 / hidden) if weights is None else weights, 0.0),
        WEIGHT: (
            "readout",
            (least, least + 0.2 / np.sqrt(units)) if readout is None else readout,
            least,
        ),
    }
    values = {}
    for end, (argument, draw, low) in draws.items():
        for name in (n for n in blocks if n.endswith(end)):
            drawn = _drawn(argument, draw, low, space.shape(blocks[name]), rng)
            values[name] = -drawn if end == "bias1" else drawn
    return space.sample(**values)


def as_rows(name: str, x: Array) -> Array:
    """(n, N), a row for (N,)."""
    given = np.asarray(x)
    return check_array(name, given[None, :] if given.ndim == 1 else given, ("n", "N"))


def _drawn(
    name: str, draw: Draw, least: float, shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    """An array of this shape, constant or uniform."""
    ends = [check_number(name, end) for end in (draw if isinstance(draw, tuple) else (draw,))]
    if len(ends) > 2 or ends[0] > ends[-1] or ends[0] < least:
        raise ValueError(
            f"{name} must be a number or a pair (low, high), at least {least:g}, got {draw!r}"
        )
    return rng.uniform(*ends, size=shape) if len(ends) == 2 else np.full(shape, ends[0])
