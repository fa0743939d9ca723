"""What the paper prints in its Tables 1 to 4.

The bounds come from formulas for pseudo-time, the time of w' = u(w), one unit of which is one epoch
where updates are w + u; the paper calls both columns seconds.  The times of the experiments are
seconds of its computer.
"""

from dataclasses import dataclass

METHODS = ("L1", "L2", "Lyapunov")


@dataclass(frozen=True)
class Row:
    """One row: a bound in pseudo-time, and for L1, L2 and the law seconds and the metric.

    metric : "accuracy" or "rmse", of the test
    """

    table: int
    name: str
    bound: float
    seconds: tuple[float, float, float]
    metric: str
    values: tuple[float, float, float]


ROWS = (
    Row(1, "single neuron, Iris", 3.4e3, (0.065, 0.064, 0.025), "accuracy", (0.95, 0.95, 1.0)),
    Row(1, "MLP, Boston", 1.4e10, (4.3e3, 3.4e3, 3.1e3), "rmse", (0.091, 0.179, 0.085)),
    Row(2, "k = 0.001", 37213.848, (0.312, 0.310, 0.0918), "accuracy", (0.6, 0.95, 0.95)),
    Row(2, "k = 0.005", 7442.769, (0.0943, 0.0942, 0.0344), "accuracy", (0.95, 1.0, 1.0)),
    Row(2, "k = 0.01", 3721.385, (0.0566, 0.0573, 0.0221), "accuracy", (0.95, 1.0, 1.0)),
    Row(3, "IMDB Wiki", 8.3e6, (980.40, 1299.0, 467.96), "rmse", (0.414, 0.415, 0.416)),
    Row(4, "M = 0.1", 1.97e11, (1277.66, 906.61, 755.59), "rmse", (0.095, 0.145, 0.092)),
    Row(4, "M = 0.2", 5.67e10, (1297.11, 1097.62, 914.78), "rmse", (0.096, 0.146, 0.093)),
    Row(4, "M = 0.3", 2.73e10, (1290.48, 1197.53, 998.05), "rmse", (0.093, 0.147, 0.101)),
)
