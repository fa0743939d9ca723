"""The gradient of end-point training, in the parameters and in the inputs (LY-17)."""

import numpy as np

from continuum import CrossEntropy, LearningProblem, Projection, TimeMesh
from solvers import RK4, discretize

from ...bench.registry import claim
from ..fixture import LABELS, STATES, Fixture, norm
from .common import PAPER

MESH = TimeMesh(1.0, 5)

REFERENCES = {
    "loss (1 layer)": 1.181110636919,
    "|G| (1 layer)": 0.334224282401,
    "dx_00 (1 layer)": -0.021564047156,
    "loss (2 layers)": 1.374092816484,
    "|G| (2 layers)": 0.563337295988,
    "dx_00 (2 layers)": 0.005068677428,
}


@claim(
    "LY-17",
    statement="End-point cross-entropy by RK4 with 5 steps, its gradient in all parameters, and its"
    " derivative in the first input, from the costate of (eta, x) at t = 0",
    paper=PAPER,
    references=REFERENCES,
    tolerance=1e-11,
    reason="twelve printed digits of an exact derivative of the discrete loss",
)
def end_point() -> dict[str, float]:
    """A value, a norm and one derivative for each number of layers."""
    found = {}
    for layers, words in ((1, "1 layer"), (2, "2 layers")):
        fixture = Fixture(layers, amp=0.6)
        field, x, start = fixture.field, fixture.inputs, np.zeros((STATES, len(LABELS)))
        problem = LearningProblem(field.at(x), start, LABELS, MESH, terminal=CrossEntropy())
        control = fixture.control(problem.space)
        value, gradient = discretize(problem, RK4()).value_and_gradient(control)
        joined = LearningProblem(
            field.with_inputs(),
            np.concatenate([start, x]),
            LABELS,
            MESH,
            terminal=CrossEntropy(),
            readout=Projection(np.eye(STATES, STATES + len(x))),
        )
        run = discretize(joined, RK4()).run(fixture.control(joined.space))
        # a costate is its own sample's derivative, the loss a mean
        shift = run.costates[0][STATES, 0] / len(LABELS)
        found |= {f"loss ({words})": value, f"|G| ({words})": norm(gradient)}
        found[f"dx_00 ({words})"] = float(shift)
    return found
