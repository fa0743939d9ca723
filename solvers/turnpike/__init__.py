"""The turnpike of problems on long horizons: static optimum, rates, arcs, dissipativity."""

from .arcs import Turnpike, turnpike
from .dissipativity import Dissipativity, dissipativity
from .fits import Fit
from .quadratic import QuadraticSolution, linear_quadratic, solve_quadratic
from .spectra import (
    HamiltonianSpectrum,
    Modes,
    NoSpectralGap,
    linearise,
    scheme_spectrum,
    spectrum,
)
from .static import NoStaticOptimum, StaticOptimum, static_optimum

__all__ = [
    "Dissipativity",
    "Fit",
    "HamiltonianSpectrum",
    "Modes",
    "NoSpectralGap",
    "NoStaticOptimum",
    "QuadraticSolution",
    "StaticOptimum",
    "Turnpike",
    "dissipativity",
    "linear_quadratic",
    "linearise",
    "scheme_spectrum",
    "solve_quadratic",
    "spectrum",
    "static_optimum",
    "turnpike",
]
