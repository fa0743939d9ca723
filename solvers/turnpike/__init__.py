"""The turnpike of problems on long horizons: static optimum, rates, arcs, dissipativity, depth."""

from .arcs import Turnpike, turnpike
from .depth import Depth, depth_for
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
    "Depth",
    "Dissipativity",
    "Fit",
    "HamiltonianSpectrum",
    "Modes",
    "NoSpectralGap",
    "NoStaticOptimum",
    "QuadraticSolution",
    "StaticOptimum",
    "Turnpike",
    "depth_for",
    "dissipativity",
    "linear_quadratic",
    "linearise",
    "scheme_spectrum",
    "solve_quadratic",
    "spectrum",
    "static_optimum",
    "turnpike",
]
