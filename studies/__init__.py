"""Studies: questions asked of the solvers, run as sweeps, kept in files, reported; and the papers'
claims, checked.
"""

from typing import TYPE_CHECKING

from continuum.lazy import lazy_names

if TYPE_CHECKING:
    from . import catalogue as catalogue
    from . import datasets as datasets
    from .bench.collect import open_sweep
    from .bench.registry import Animation, Picture, claim, study
    from .bench.report import write_report
    from .bench.store import case_parameters, read_case
    from .bench.sweep import run_sweep
    from .bench.verify import check
    from .catalogue import find_study
    from .draw.disc import poincare_disc
    from .draw.portraits import phase_portrait
    from .draw.results import plot_extremal, plot_solution
    from .estimators import ContinuumClassifier, ContinuumRegressor
    from .export import to_dataframe, to_xarray
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Animation",
    "ContinuumClassifier",
    "ContinuumRegressor",
    "Picture",
    "case_parameters",
    "check",
    "claim",
    "find_study",
    "open_sweep",
    "phase_portrait",
    "plot_extremal",
    "plot_solution",
    "poincare_disc",
    "read_case",
    "run_sweep",
    "study",
    "to_dataframe",
    "to_xarray",
    "write_report",
]
