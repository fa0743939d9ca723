"""The ledger of claims on Liu and Markowich, by its sections, through the public functions of the
package.
"""

from . import algorithms as algorithms
from . import discretisation as discretisation
from . import exact_flows as exact_flows
from . import gradients as gradients
from . import growth as growth
from . import lyapunov as lyapunov
from . import optima as optima
from . import pontryagin as pontryagin
from . import stability as stability
from . import width as width
