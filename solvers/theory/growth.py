"""How fast can |f| grow: the theorem that applies, and its bound."""

from dataclasses import dataclass
from math import exp, expm1, inf, isfinite, sqrt
from typing import Literal

import numpy as np

from continuum.activations import Activation, identity
from continuum.arrays import Array
from continuum.checks import check_array, check_squares
from continuum.controls import ControlPath, FunctionControl
from continuum.doors import checked
from continuum.networks import Chain, WidthDepth

from .chain_bounds import chain_bound, length
from .stability import (
    constant_values,
    coordinates,
    least_eigenvalue,
    operator_matrix,
    steady_values,
    values_at,
)

GrowthKind = Literal["bounded", "linear", "exponential", "no theorem applies"]


@dataclass(frozen=True)
class Growth:
    """|f(t)| <= start e^(rate t) + slope (e^(rate t) - 1) / rate in L^2(Y) or R^N, for the worst
    sample.

    kind : "bounded" (slope = rate = 0), "linear" (rate = 0), "exponential" or "no theorem applies";
        an upper bound, which the solution need not attain.  For functions of time the exponential
        one is conditional: norms between the ends and middles of layers are not known
    theorem : the one that was used
    sentence : the bound, and on what it rests
    """

    kind: GrowthKind
    theorem: str
    start: float
    slope: float
    rate: float
    sentence: str

    def bound(self, t: float) -> float:
        """The bound at time t >= 0, infinite if no theorem applies; raises ValueError for t < 0."""
        if not t >= 0:
            raise ValueError(f"t must be >= 0, got {t}")
        if self.kind == "no theorem applies":
            return inf
        if self.rate == 0.0:
            return self.start + self.slope * t
        return self.start * exp(self.rate * t) + self.slope * expm1(self.rate * t) / self.rate


@checked
def growth_class(
    network: Chain, control: ControlPath, initial: Array, *, steady: Array | None = None
) -> Growth:
    """|f(t)| <= the best of these, L = sup |sigma'|, norms in L^2(Y), for f_t = sigma(a - Bf):

    - bounded: sigma(s) = s, B_s >= 0, Bf_e = a:  |f_e| + |f_I - f_e|
    - linear: a, b constant in time, B_s >= 0, sigma nondecreasing with sigma(0) = 0:
      |f_I| + t (2 L int Sigma(u_I))^1/2 (Proposition 3.5 for any such sigma)
    - linear: sup |sigma| known (`Activation.supremum`), Y of finite measure: |f_I| + t sup|sigma|
      |Y|^1/2
    - exponential: L finite, B bounded on L^2(Y): Gronwall with L |B| (Theorem 3.1)

    For any other chain, such as Bottleneck: Gronwall with |F(f, t)| <= rate |f| + slope, carried
    through its maps (`chain_bounds`); linear where rate = 0, as for W2 sigma(W1 f + b1) + b2 with
    sup |sigma| known: slope = |W2| sup |sigma| h^(1/2) + |b2|.

    The linear bounds hold on every grid, whether |B| stays bounded as it is refined or not.
    B_s >= 0 is what this grid says of it; monotonicity is checked at 4001 points of [-40, 40].

    initial : (N, M)
    steady : (N, 1) a solution of Bf = a, if there is one (`steady_state`); of a WidthDepth alone
    raises ValueError for states that do not fit, or `steady` if |B steady - a| > 1e-8 (|a| + |B|
        |steady|); TypeError for what is no chain of maps with known norms, or `steady` of another
    Source: Liu and Markowich sections 3.1, 3.2, 3.4 with errata E06 and the general form of LM-37.
    """
    if not isinstance(network, WidthDepth):
        if steady is not None:
            raise TypeError(f"steady is for a WidthDepth, whose Bf = a it solves, got {network!r}")
        return _of_chain(network, control, initial)
    first = values_at(network, control, 0.0)
    f = check_array("initial", initial, (len(network.weights), "M"))
    check_squares("initial", f)
    sigma, start = network.activation, _norm(network, f)
    values = constant_values(control)
    monotone = values is not None and least_eigenvalue(operator_matrix(network, control)) >= 0
    if steady is not None:
        reached = check_array("steady", steady, (len(network.weights), 1))
        residual = _norm(network, network.preactivation(reached, first))
        scale = _norm(network, first["bias"][:, None])
        scale += network.kernel.norm(first["kernel"], network.grid) * _norm(network, reached)
        if not residual <= 1e-8 * scale:
            raise ValueError(f"steady must solve Bf = a, but |Bf - a| = {residual:.3g}")
        if monotone and sigma is identity:
            most = _norm(network, reached) + _norm(network, f - reached)
            text = (
                f"Bounded: sigma(s) = s, B_s >= 0 and Bf = a is solvable, so |f(t)| <= {most:.6g}."
            )
            return Growth(
                "bounded", "linear equation with B_s >= 0 and a in R(B)", most, 0.0, 0.0, text
            )
    found: list[Growth] = []
    if monotone and values is not None and sigma.vanishes_at_zero and _nondecreasing(sigma):
        slope = sqrt(
            2.0
            * sigma.lipschitz
            * _worst(network, sigma.antiderivative(network.preactivation(f, values)))
        )
        text = (
            f"Linear: B_s >= 0 and sigma is nondecreasing, so |f(t)| <= {start:.6g} + "
            f"{slope:.6g} t."
        )
        found.append(Growth("linear", "Proposition 3.5, general sigma", start, slope, 0.0, text))
    size = network.grid.domain.measure
    if sigma.supremum is not None and isfinite(size):
        slope = sigma.supremum * sqrt(size)
        text = (
            f"Linear: sigma is bounded and |Y| = {size:.6g} is finite, so |f(t)| <= "
            f"{start:.6g} + {slope:.6g} t."
        )
        found.append(Growth("linear", "bounded activation", start, slope, 0.0, text))
    if found:
        return min(found, key=lambda g: g.slope)
    return _gronwall(network, control, start, constant=values is not None)


def _of_chain(network: Chain, control: ControlPath, initial: Array) -> Growth:
    """Gronwall with |F| <= rate |f| + slope."""
    bound = chain_bound(network, control)
    start = length(network.space, network.check_state("initial", initial))
    rate, slope = bound.rate, bound.speed
    if not (isfinite(rate) and isfinite(slope)):
        why = "an activation is not Lipschitz, or does not vanish at 0 where |Y| is infinite"
        if bound.unbounded:
            why = f"{', '.join(bound.unbounded)} is not bounded on L^2(Y)"
        why += _unstated(bound.unstated)
        return Growth("no theorem applies", "none", start, inf, inf, f"No theorem applies: {why}.")
    if rate == 0.0:
        kind = "linear"
        text = f"Linear: |F| <= {slope:.6g}, so |f(t)| <= {start:.6g} + {slope:.6g} t."
    else:
        kind = "exponential"
        text = (
            f"At most exponential: |F| <= {rate:.6g} |f| + {slope:.6g}, so |f(t)| <= {start:.6g} "
            f"e^({rate:.6g} t) + {slope:.6g} (e^({rate:.6g} t) - 1) / {rate:.6g}, by Gronwall."
        )
    if not bound.known:
        text += " Norms are the largest at the ends and middles of layers; a function of time may "
        text += "exceed them in between, and then the bound."
    if bound.unstated:
        text = f"{text.removesuffix('.')}{_unstated(bound.unstated)}."
    return Growth(kind, "Gronwall with |F| <= rate |f| + slope", start, slope, rate, text)


def _gronwall(network: WidthDepth, control: ControlPath, start: float, constant: bool) -> Growth:
    sigma, size = network.activation, network.grid.domain.measure
    at_zero = 0.0 if sigma.vanishes_at_zero else abs(float(sigma.value(np.zeros(1))[0]))
    bounded = network.kernel.bounded
    bent = sigma.bounded and sigma.supremum is None and isfinite(size)
    unstated = _unstated((sigma.name,)) if bent else ""
    if not (isfinite(sigma.lipschitz) and bounded):
        why = "sigma is not Lipschitz" if bounded else "B is not bounded on L^2(Y)"
        why += unstated
        return Growth("no theorem applies", "none", start, inf, inf, f"No theorem applies: {why}.")
    nodes = control.mesh.nodes
    times = (
        [0.0] if constant else [float(t) for t in np.union1d(nodes, 0.5 * (nodes[1:] + nodes[:-1]))]
    )
    values = [values_at(network, control, t) for t in times]
    rate = sigma.lipschitz * max(network.kernel.norm(c["kernel"], network.grid) for c in values)
    biases = [_norm(network, c["bias"][:, None]) for c in values]
    slope = sigma.lipschitz * max(biases) + (at_zero * sqrt(size) if at_zero else 0.0)
    text = f"At most exponential: |f(t)| <= (|f_I| + {slope:.6g} t) e^({rate:.6g} t), by Gronwall."
    if not constant:
        text += " Norms are the largest at the ends and middles of layers"
        between = "; a function of time may exceed them in between, and then the bound."
        text += between if isinstance(control, FunctionControl) else "."
    if unstated:
        text = f"{text.removesuffix('.')}{unstated}."
    return Growth(
        "exponential", "Theorem 3.1 with exp(Lip(sigma) int |B|)", start, slope, rate, text
    )


@checked
def l1_bound(network: WidthDepth, control: ControlPath, initial: Array, t: float) -> float:
    """int |f(t)| <= (int |f_I| + L t int |a|) exp(L t sup_z int |b(y, z)| dy).

    For sigma(0) = 0 and L = sup |sigma'|.

    initial : (N, M); the worst sample is meant
    raises ValueError for a control that depends on time, sigma(0) != 0, a B that is not bounded,
        t < 0 or states that do not fit
    Source: Liu and Markowich section 3.4 with erratum E18 (the paper's exponent sup |b| lacks a
    factor |Y|).
    """
    values = steady_values(network, control)
    f = check_array("initial", initial, (len(network.weights), "M"))
    if not network.activation.vanishes_at_zero:
        raise ValueError(f"the activation must vanish at 0, {network.activation} does not")
    if not network.kernel.bounded:
        raise ValueError(f"the kernel must be bounded, {network.kernel!r} is not")
    if not t >= 0:
        raise ValueError(f"t must be >= 0, got {t}")
    grid, speed = network.grid, network.activation.lipschitz
    column = float(np.max(grid.integrate(np.abs(network.kernel.matrix(values["kernel"])))))
    start = float(np.max(grid.integrate(np.abs(f)))) + speed * t * float(
        grid.integrate(np.abs(values["bias"]))
    )
    return start * exp(speed * t * column)


def _norm(network: WidthDepth, f: Array) -> float:
    """The largest L^2(Y) norm of the columns."""
    return float(np.linalg.norm(coordinates(network, f), axis=0).max())


def _worst(network: WidthDepth, values: Array) -> float:
    return float(np.max(network.grid.integrate(values)))


def _unstated(names: tuple[str, ...]) -> str:
    """What to say of bounded activations whose supremum is not known."""
    if not names:
        return ""
    return f"; {', '.join(names)} is bounded, but sup |sigma| is not stated, so nothing rests on it"


def _nondecreasing(sigma: Activation) -> bool:
    return bool((sigma.derivative(np.linspace(-40.0, 40.0, 4001)) >= 0.0).all())
