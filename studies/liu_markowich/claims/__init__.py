"""The ledger of claims on Liu and Markowich, by its sections, through the public functions of the package."""

from . import discretisation as discretisation
from . import exact_flows as exact_flows
from . import gradients as gradients
from . import width as width
