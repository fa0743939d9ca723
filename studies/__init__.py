"""Studies: questions asked of the solvers, run as sweeps, kept in files, reported; and the papers' claims, checked."""

from .compactification import poincare_disc as poincare_disc
from .compactification import points_at_infinity as points_at_infinity
from .planar import equilibria as equilibria
from .portraits import phase_portrait as phase_portrait
from .registry import Picture as Picture
from .registry import check as check
from .registry import claim as claim
from .registry import find_study as find_study
from .registry import study as study
from .report import write_report as write_report
from .store import read_case as read_case
from .sweep import run_sweep as run_sweep
