"""A method that is explicit until the equation is stiff, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import ClassVar

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive, store
from continuum.doors import checked

from .embedded import DOP853, AdaptiveRungeKutta, DormandPrince
from .newton import Newton
from .stiff import EmbeddedImplicit, KennedyCarpenter5, RadauIIA5
from .tableaux import Stepper, Tangent, Velocity

Chooser = AdaptiveRungeKutta | EmbeddedImplicit
"""A method that chooses its steps by an estimate of its own."""
_NEWTON = Newton()


@checked
@dataclass(frozen=True, kw_only=True)
class Auto(Stepper):
    """An explicit pair until the stability bound, not the error, limits its steps; then an implicit
    method until the explicit one would be stable with its steps; and so on.

    The stability bound limits a step if h rho > 0.85 z, with rho = |k_s - k_(s-1)| / |f_s -
    f_(s-1)|, f the last two stages, both at the end of the step, k their slopes, and (-z, 0) where
    the method is stable on the real line.  After 15 such steps, less than 6 others in a row between
    them, the method is changed; and changed back after as many steps of the implicit one with
    h rho < 1.5, where rho is |D_f F v| / |v|, v a vector that the power method improves at every
    step.  Norms are those of the errors, of the worst sample.

    A solution says in its detail when and why the method was changed, its statistics "switches" how
    often.

    rtol, atol, max_step, newton : as for the two methods
    explicit : DormandPrince or DOP853
    implicit : RadauIIA5 or KennedyCarpenter5
    raises TypeError if a tolerance is missing, or for other methods

    Source: Hairer and Wanner, Solving ordinary differential equations II, IV.2.
    """

    order: ClassVar[int] = 5

    rtol: float | None = None
    atol: float | None = None
    max_step: float = inf
    explicit: type[AdaptiveRungeKutta] = DormandPrince
    implicit: type[EmbeddedImplicit] = RadauIIA5
    newton: Newton = _NEWTON

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            if getattr(self, name) is None:
                raise TypeError(f"{name} has no default; for example Auto(rtol=1e-6, atol=1e-9)")
            store(self, check_positive, name)
        if self.explicit not in (DormandPrince, DOP853):
            raise TypeError(f"explicit must be DormandPrince or DOP853, got {self.explicit!r}")
        if self.implicit not in (RadauIIA5, KennedyCarpenter5):
            raise TypeError(
                f"implicit must be RadauIIA5 or KennedyCarpenter5, got {self.implicit!r}"
            )
        self.methods  # noqa: B018 - so that bad options are met here

    @property
    def adaptive(self) -> bool:
        return True

    @property
    def tolerances(self) -> tuple[float, float]:
        """(rtol, atol)."""
        return float(self.rtol or 0.0), float(self.atol or 0.0)

    @cached_property
    def methods(self) -> tuple[AdaptiveRungeKutta, EmbeddedImplicit]:
        """Both, with these tolerances."""
        given = {"rtol": self.rtol, "atol": self.atol, "max_step": self.max_step}
        return self.explicit(**given), self.implicit(**given, newton=self.newton)  # type: ignore[arg-type]

    def step(self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array) -> Array:
        """Raises TypeError: which of its methods makes a step depends on the steps before."""
        raise TypeError(
            f"{self!r} makes no step by itself, because its method depends on the steps before: "
            "take one of the methods, Auto.methods"
        )


@dataclass(frozen=True, eq=False)
class InTurn(Stepper):
    """The methods of a run that changed its method: `methods[i]` from `starts[i]` on.

    starts : (n,), increasing, the first one 0
    """

    order: ClassVar[int] = 5

    starts: Array
    methods: tuple[Chooser, ...]

    @staticmethod
    def of(methods: Mapping[float, Chooser]) -> "InTurn":
        """From methods by the times at which they start."""
        return InTurn(np.array(list(methods)), tuple(methods.values()))

    def at(self, t: float) -> Chooser:
        """That of the step in which t lies, or which it starts."""
        return self.methods[int(np.searchsorted(self.starts, t, side="right")) - 1]

    def step(self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array) -> Array:
        return self.at(t).step(velocity, tangent, t, h, f)
