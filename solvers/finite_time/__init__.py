"""Laws that train weights in a time known before the run."""

from .bounds import SettlingBound, settling_bound
from .laws import Law, PowerLaw, PseudoinverseLaw, SignLaw
from .neuron import neuron
from .plants import output_jacobian
from .powers import spow
from .training import Scheme, train_in_time

__all__ = [
    "Law",
    "PowerLaw",
    "PseudoinverseLaw",
    "Scheme",
    "SettlingBound",
    "SignLaw",
    "neuron",
    "output_jacobian",
    "settling_bound",
    "spow",
    "train_in_time",
]
