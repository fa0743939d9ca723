"""The derivatives of a user's own network or running cost, checked at a point."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from .arrays import Array, to_host
from .blocks import Block
from .checks import check_array, check_name, check_number
from .doors import checked
from .functional import RunningCost
from .networks import Network, Staged, Values
from .readouts import State
from .records import short

Derivative = tuple[Array, Mapping[str, Array]]
Direction = tuple[str, Array, dict[str, Array], Array]

_STEPS = 2.0 ** -np.arange(6, 21)
_ROUNDING = 1e-13  # remainders below this share of the values are not looked at
_LEAST_ORDER = 1.8
_IDENTITY = 1e-10  # relative difference of two sums that must be equal


@dataclass(frozen=True)
class Check:
    """One check: what was checked, and what is wrong in words, "" if nothing is."""

    what: str
    wrong: str

    def __str__(self) -> str:
        return f"  wrong  {self.what}: {self.wrong}" if self.wrong else f"  right  {self.what}"


@dataclass(frozen=True)
class DerivativeReport:
    """What `check_derivatives` found; prints as one line per check.

    ok : all are right, at the point where they were checked
    failures : those that are not
    """

    subject: str
    checks: tuple[Check, ...]

    __repr__ = short

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.wrong)

    @property
    def ok(self) -> bool:
        return not self.failures

    def __str__(self) -> str:
        right = len(self.checks) - len(self.failures)
        head = f"derivatives of {self.subject}: {right} of {len(self.checks)} checks passed"
        return "\n".join([head, *map(str, self.checks)])


@checked
def check_derivatives(
    subject: Network | RunningCost,
    network: Network | None = None,
    *,
    state: Array | None = None,
    values: Values | None = None,
    t: float = 0.3,
    rng: np.random.Generator | None = None,
    raise_on_failure: bool = False,
) -> DerivativeReport:
    """Whether the derivatives that a network or running cost states are those of what it computes.

    Derivatives are checked by the order 2 of Taylor remainders |g(x + h d) - g(x) - h g'(x) d| as
    h -> 0, adjoints by (J v, p) = (v, J* p), for the state and for each block apart, so that the
    report names the part that is wrong; `broadcasts` and `affine_in_control` where they are True.
    A derivative that is right at one point may be wrong at another: errors below about 1e-5 of a
    derivative are not seen, and what a branch not taken there returns is not either.

    network : the network whose state and control a running cost takes; not for a network
    state, values, t : the point, (N, M), the value of each block by name, and the time; normal
        random numbers, three samples, for what is not given
    rng : for the point and the directions; of a fixed seed if None
    raise_on_failure : raise ValueError with the failures instead of returning them
    raises TypeError for another subject, a running cost without a network, and networks with a
        block that is never stored, which has no derivative
    """
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(subject, Network):
        network = subject
        if isinstance(network, Staged):
            raise TypeError(f"subject must have a velocity; check each stage of {subject!r}")
    elif not isinstance(subject, RunningCost):
        raise TypeError(f"subject must be a Network or a RunningCost, got {subject!r}")
    elif not isinstance(network, Network):
        raise TypeError(f"network must be the Network of the running cost, got {network!r}")
    f = rng.standard_normal((len(network.weights), 3)) if state is None else state
    f = to_host(network.check_state("state", f))
    blocks = {b.name: b for b in network.blocks()}
    if isinstance(subject, RunningCost):
        subject = subject.completed(network, State(), None, f.shape[1])
        blocks.update({b.name: b for b in subject.blocks(network)})
    for block in blocks.values():
        if block.prepare is not None:
            raise TypeError(f"block {block.name!r} is never stored, so it has no derivative")
    blocks = tuple(blocks.values())
    c = {b.name: rng.standard_normal(b.shape) for b in blocks}
    for name, value in (values or {}).items():
        check_name("block", name, list(c))
        c[name] = to_host(check_array(name, value, c[name].shape))
    point = _Point(network, blocks, f, c, check_number("t", t), rng)
    checks = (
        _of_network(subject, point)
        if isinstance(subject, Network)
        else _of_running_cost(subject, point)
    )
    report = DerivativeReport(type(subject).__name__, tuple(checks))
    if raise_on_failure and not report.ok:
        raise ValueError(str(report))
    return report


@dataclass(frozen=True, eq=False)
class _Point:
    """Where derivatives are checked, and in which directions."""

    network: Network
    blocks: tuple[Block, ...]
    f: Array
    c: dict[str, Array]
    t: float
    rng: np.random.Generator

    def costate(self) -> Array:
        return self.rng.standard_normal(self.f.shape)

    def directions(self, costate: bool) -> Iterator[Direction]:
        """(name, df, dc, dp) with one of them other than zero."""
        zero = np.zeros(self.f.shape)
        yield "the state", self.costate(), {}, zero
        for block in self.blocks:
            yield (
                f"block {block.name!r}",
                zero,
                {block.name: self.rng.standard_normal(block.shape)},
                zero,
            )
        if costate:
            yield "the costate", zero, {}, self.costate()

    def along(self, dc: Values, h: float) -> dict[str, Array]:
        return {**self.c, **{n: self.c[n] + h * d for n, d in dc.items()}}

    def paired(self, df: Array, dc: Values, bars: Derivative) -> float:
        """(df, f_bar) + sum over blocks of (dc, c_bar), in their products."""
        total = float(np.sum(self.network.weights[:, None] * df * bars[0]))
        for block in self.blocks:
            if block.name in dc and block.name in bars[1]:
                total += float(np.sum(block.weights * dc[block.name] * bars[1][block.name]))
        return total


def _of_network(network: Network, at: _Point) -> Iterator[Check]:
    f, c, t = at.f, at.c, at.t
    p = at.costate()
    yield _check("velocity", lambda: _shape("velocity", network.velocity(f, c, t), f.shape))
    for name, df, dc, _ in at.directions(costate=False):

        def jvp(df: Array = df, dc: Values = dc) -> str:
            return _shape("jvp", network.jvp(f, c, t, df, dc), f.shape) or _taylor(
                lambda h: network.velocity(f + h * df, at.along(dc, h), t),
                network.jvp(f, c, t, df, dc),
                "the velocity",
            )

        def vjp(df: Array = df, dc: Values = dc) -> str:
            bars = network.vjp(f, c, t, p)
            pushed = np.sum(network.weights[:, None] * network.jvp(f, c, t, df, dc) * p)
            return _parts(bars, at) or _equal(
                float(pushed), at.paired(df, dc, bars), "(jvp, p)", "(direction, vjp)"
            )

        yield _check(f"jvp in {name}", jvp)
        yield _check(f"vjp in {name}, the adjoint of jvp", vjp)
    yield from _second(
        at,
        lambda h, df, dc, dp: network.vjp(f + h * df, at.along(dc, h), t, p + h * dp),
        lambda df, dc, dp: network.vjp_derivative(f, c, t, p, df, dc, dp),
        costate=True,
    )
    if network.broadcasts:
        yield _check("broadcasts", lambda: _stacked(network, at))
    if network.affine_in_control:
        yield _check("affine_in_control", lambda: _affine(network, at))


def _of_running_cost(cost: RunningCost, at: _Point) -> Iterator[Check]:
    f, c, t, network = at.f, at.c, at.t, at.network
    q = at.rng.uniform(0.5, 1.5, f.shape[1])
    yield _check(
        "density",
        lambda: _shape("density", cost.density(network, f, c, t), (f.shape[1],)),
    )
    read = cost.reads(network)

    def total(df: Array, dc: Values, h: float) -> Array:
        return np.sum(q * cost.density(network, f + h * df, at.along(dc, h), t))

    for name, df, dc, _ in at.directions(costate=False):

        def vjp(df: Array = df, dc: Values = dc) -> str:
            bars = cost.vjp(network, f, c, t, q)
            left = [n for n in dc if n not in bars[1]]
            wrong = _parts(bars, at, every=False) or _taylor(
                lambda h: total(df, dc, h), np.asarray(at.paired(df, dc, bars)), "the density"
            )
            return f"it is left out, but {wrong}" if left and wrong else wrong

        def unread(df: Array = df, dc: Values = dc) -> str:
            same = total(df, dc, 1.0) == total(df, dc, 0.0)
            return "" if same else "`reads` leaves it out, but the density depends on it"

        yield _check(f"vjp in {name}", vjp)
        if read is not None and any(n not in read for n in dc):
            yield _check(f"reads without {name}", unread)
    yield _check("density_and_vjp", lambda: _together(cost, at, q))
    if cost.broadcasts:
        yield _check("broadcasts", lambda: _stacked_cost(cost, at, q))
    yield from _second(
        at,
        lambda h, df, dc, dp: cost.vjp(network, f + h * df, at.along(dc, h), t, q),
        lambda df, dc, dp: cost.vjp_derivative(network, f, c, t, q, df, dc),
        costate=False,
    )


def _together(cost: RunningCost, at: _Point, q: Array) -> str:
    """That density and vjp asked together are what they are alone."""
    arguments = at.network, at.f, at.c, at.t
    costs, p, bars = cost.density_and_vjp(*arguments, q)
    alone = cost.density(*arguments), *cost.vjp(*arguments, q)
    same = set(bars) == set(alone[2]) and all(
        np.allclose(x, y, rtol=1e-12, atol=1e-14)
        for x, y in [(costs, alone[0]), (p, alone[1]), *((bars[n], alone[2][n]) for n in bars)]
    )
    return "" if same else "it differs from density and vjp asked alone"


def _second(
    at: _Point,
    vjp: Callable[[float, Array, Values, Array], Derivative],
    derivative: Callable[[Array, Values, Array], Derivative],
    costate: bool,
) -> Iterator[Check]:
    """That `derivative` is the derivative of vjp, each part of it in each direction."""
    for name, df, dc, dp in at.directions(costate):

        def state(df: Array = df, dc: Values = dc, dp: Array = dp) -> str:
            found = derivative(df, dc, dp)
            return _parts(found, at, every=False) or _taylor(
                lambda h: vjp(h, df, dc, dp)[0], found[0], "the state's part of vjp"
            )

        def block(own: Block, df: Array = df, dc: Values = dc, dp: Array = dp) -> str:
            zero = np.zeros(own.shape)
            return _taylor(
                lambda h: vjp(h, df, dc, dp)[1].get(own.name, zero),
                derivative(df, dc, dp)[1].get(own.name, zero),
                "this part of vjp",
            )

        yield _check(f"vjp_derivative in {name}, the state's part", state)
        for own in at.blocks:
            yield _check(
                f"vjp_derivative in {name}, the part of block {own.name!r}", partial(block, own)
            )


def _check(what: str, run: Callable[[], str]) -> Check:
    try:
        return Check(what, run())
    except Exception as error:
        return Check(what, f"it raises {type(error).__name__}: {error}")


def _taylor(function: Callable[[float], Array], slope: Array, of: str) -> str:
    """ "" if |function(h) - function(0) - h slope| falls like h^2, or is rounding."""
    base = function(0.0)
    scale = max(float(np.max(np.abs(base), initial=0.0)), float(np.max(np.abs(slope), initial=0.0)))
    remainders = np.array(
        [np.max(np.abs(function(float(h)) - base - h * slope), initial=0.0) for h in _STEPS]
    )
    if not np.all(np.isfinite(remainders)):
        return f"{of} or its derivative is not finite"
    seen = np.flatnonzero(remainders > _ROUNDING * max(scale, np.finfo(float).tiny))[-4:]
    if len(seen) < 2:
        return ""
    order = float(np.polyfit(np.log(_STEPS[seen]), np.log(remainders[seen]), 1)[0])
    if order >= _LEAST_ORDER:
        return ""
    return f"it is not the derivative of {of}: Taylor remainders are of order {order:.2f}, not 2"


def _equal(found: float, wanted: float, left: str, right: str) -> str:
    scale = max(abs(found), abs(wanted), 1e-3)
    if abs(found - wanted) <= _IDENTITY * scale:
        return ""
    return f"{left} is {found:.6g}, but {right} is {wanted:.6g}"


def _shape(name: str, array: Array, shape: tuple[int, ...]) -> str:
    if tuple(np.shape(array)) != shape:
        return f"{name} has shape {tuple(np.shape(array))}, expected {shape}"
    return "" if np.all(np.isfinite(array)) else f"{name} has entries that are NaN or infinite"


def _parts(bars: Derivative, at: _Point, every: bool = True) -> str:
    """What is wrong with names and shapes of a derivative, "" if nothing is."""
    wrong = _shape("the state's part", bars[0], at.f.shape)
    names = [b.name for b in at.blocks]
    for name in bars[1]:
        if name not in names:
            return f"it has a part {name!r}, but the blocks are {names}"
    for block in at.blocks:
        if block.name in bars[1]:
            part = f"the part of block {block.name!r}"
            wrong = wrong or _shape(part, bars[1][block.name], block.shape)
        elif every:
            wrong = wrong or f"it has no part of block {block.name!r}"
    return wrong


def _stacked(network: Network, at: _Point) -> str:
    """That states (2, N, M) with two values of the control give what each gives alone."""
    points = [(at.f, at.c)]
    points += [(at.costate(), {b.name: at.rng.standard_normal(b.shape) for b in at.blocks})]
    f = np.stack([x for x, _ in points])
    c = {b.name: np.stack([values[b.name] for _, values in points]) for b in at.blocks}
    p, df = at.costate() + 0.0 * f, at.costate() + 0.0 * f
    calls: dict[str, Callable[..., Array]] = {
        "velocity": lambda f, c, p, df: network.velocity(f, c, at.t),
        "vjp": lambda f, c, p, df: network.vjp(f, c, at.t, p)[0],
        "vjp_derivative": lambda f, c, p, df: network.vjp_derivative(f, c, at.t, p, df, {}, p)[0],
    }
    for name, call in calls.items():
        together = call(f, c, p, df)
        for n, (state, values) in enumerate(points):
            alone = call(state, values, p[n], df[n])
            if not np.allclose(together[n], alone, rtol=1e-12, atol=1e-12 * np.max(np.abs(alone))):
                return f"{name} of stacked states is not what it is state by state"
    return ""


def _stacked_cost(cost: RunningCost, at: _Point, q: Array) -> str:
    """That states (2, N, M) at two times with two values of the control give what each gives
    alone.
    """
    f, df = np.stack([at.f, at.costate()]), np.stack([at.costate(), at.costate()])
    c, dc = (
        {b.name: np.stack([x[b.name], at.rng.standard_normal(b.shape)]) for b in at.blocks}
        for x in (at.c, {b.name: at.rng.standard_normal(b.shape) for b in at.blocks})
    )
    t, network = np.array([at.t, 0.5 * at.t]), at.network
    calls: dict[str, Callable[..., tuple[Array, dict[str, Array]]]] = {
        "density": lambda f, c, t, df, dc: (cost.density(network, f, c, t), {}),
        "vjp": lambda f, c, t, df, dc: cost.vjp(network, f, c, t, q),
        "vjp_derivative": lambda f, c, t, df, dc: cost.vjp_derivative(network, f, c, t, q, df, dc),
    }
    for name, call in calls.items():
        together = call(f, c, t, df, dc)
        for n, s in enumerate(t.tolist()):
            here, along = ({b: x[n] for b, x in values.items()} for values in (c, dc))
            alone = call(f[n], here, s, df[n], along)
            pairs = [(together[0][n], alone[0])]
            pairs += [(together[1][b][n], bar) for b, bar in alone[1].items()]
            for found, wanted in pairs:
                atol = 1e-12 * max(float(np.max(np.abs(wanted))), 1e-300)
                if found.shape != wanted.shape or not np.allclose(found, wanted, 1e-12, atol):
                    return f"{name} of stacked states is not what it is state by state"
    return ""


def _affine(network: Network, at: _Point) -> str:
    """That the velocity at the mean of two controls is the mean of the velocities."""
    other = {b.name: at.rng.standard_normal(b.shape) for b in at.blocks}
    ends = [network.velocity(at.f, c, at.t) for c in (at.c, other)]
    middle = network.velocity(at.f, {n: 0.5 * (at.c[n] + other[n]) for n in other}, at.t)
    gap = float(np.max(np.abs(middle - 0.5 * (ends[0] + ends[1]))))
    scale = max(float(np.max(np.abs(e))) for e in ends)
    return "" if gap <= _IDENTITY * max(scale, 1e-3) else "the velocity is not affine in the blocks"
