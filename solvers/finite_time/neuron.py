"""One neuron as a learning problem."""

from collections.abc import Sequence

import numpy as np

from continuum.activations import Activation, identity, sigmoid
from continuum.arrays import Array
from continuum.checks import check_array, check_number
from continuum.doors import checked
from continuum.meshes import TimeMesh
from continuum.networks import LearnedField
from continuum.problem import LearningProblem
from continuum.readouts import Affine, State


@checked
def neuron(
    inputs: Array,
    target: Array | Sequence[float],
    *,
    link: Activation = sigmoid,
    bias: float | None = None,
) -> LearningProblem:
    """o = h(w.x + b) of every sample: a LearnedField of one unit, one Euler layer from 0.

    inputs : x (n, M);  target : y (M,);  link : h
    bias : a number that b is fixed at; None to train it.  Blocks "weight1" (1, n + 1), whose first
        entry stands before the state, 0, and so never matters, and "bias1" (1,)
    raises ValueError, TypeError for arguments that do not fit
    """
    inputs = check_array("inputs", inputs, ("n", "M"))
    target = check_array("target", np.asarray(target), (inputs.shape[1],))
    network = LearnedField(1, len(inputs), (), identity, timed=False).at(inputs)
    fixed = {} if bias is None else {"bias1": np.array([check_number("bias", bias)])}
    readout = State()
    if link is not identity:
        held = {"readout.W": np.ones((1, 1)), "readout.mu": np.zeros(1)}
        readout = Affine(1, link=link, fixed=held)
    return LearningProblem(
        network,
        np.zeros((1, inputs.shape[1])),
        target[None],
        network.controls(TimeMesh(1.0, 1), fixed=fixed),
        readout=readout,
    )
