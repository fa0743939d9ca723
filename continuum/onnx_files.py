"""Networks as ONNX files, which other programs run without this package.

Needs onnx (the extra of that name).  Of onnx only the writer is used; a runtime is not needed.
"""

from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np

from . import compiled
from .activations import Activation, identity
from .arrays import Array, to_host
from .controls import ControlPath
from .doors import checked
from .io import write_whole
from .networks import Network
from .readouts import Readout, Softmax, State, TrainableReadout
from .resnet import ResNet
from .sublayers import Layer, Sublayer

OPSET, _IR = 17, 8
"""The version of the operators, and that of the format which goes with it (ONNX 1.12, 2022)."""

_OPERATORS: Mapping[int, str] = {
    compiled.TANH: "Tanh",
    compiled.RELU: "Relu",
    compiled.SIGMOID: "Sigmoid",
    compiled.ARCTAN: "Atan",
    compiled.SOFTPLUS: "Softplus",
}
"""Operators by the code of an activation.  The others have parameters or constants, which ONNX's
own operators hold in single precision.
"""


@checked
def save_onnx(
    path: str | Path,
    network: Network,
    control: ControlPath,
    *,
    readout: Readout | None = None,
    dtype: Literal["float32", "float64"] = "float32",
) -> Path:
    """Writes the layers of explicit Euler, and a readout, as a file of ONNX, opset 17.

        y = readout(x_K),    x_(k+1) = x_k + tau_k F_k(x_k),    x_0 = x

        save_onnx("network.onnx", network, control, readout=Affine(3))

    The input "x" (samples, N) and the output "y" (samples, N or P) have samples in rows, any number
    of them, as other programs have it: transposed, they are those of `ResNet`.  A layer is the
    `ResNet`'s, quadrature weights inside its matrices: Gemm, Add and the activation for every
    sigma(W x + a), then Mul by tau and Add.

    readout : an affine one, with a link or softmax, that reads the state at T; its blocks are taken
        from the control.  The state itself if None
    dtype : of weights, input and output.  Runtimes implement all operators in float32; in float64
        some lack Softplus, Elu and others
    raises ImportError without onnx; TypeError for a network that has no ResNet, an activation that
        ONNX does not know, a readout of another kind; ValueError for data of single samples
        (`Inputs`), which no file for all samples can hold; OSError if the folder cannot be written
    """
    resnet = ResNet.from_control(network, control)
    onnx = _onnx()
    graph = _Graph(onnx, dtype)
    x, outputs = "x", resnet.units
    for layer, tau in zip(resnet.layers, resnet.mesh.steps.tolist(), strict=True):
        step = graph.node("Mul", graph.layer(layer, x), graph.number(tau))
        x = graph.node("Add", x, step)
    if readout is not None and not isinstance(readout, State):
        mesh = control.mesh
        matrix, offset = readout.affine(network, control.at_layer(mesh.layers - 1, mesh.horizon))
        link = readout.link if isinstance(readout, TrainableReadout) else identity
        x, outputs = graph.sublayer(Sublayer(link, matrix, offset), x), len(matrix)
        if isinstance(readout, Softmax):
            x = graph.node("Softmax", x, axis=1)
    graph.node("Identity", x, output="y")
    helper = onnx.helper
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ends = [
        helper.make_tensor_value_info(name, kind, ["samples", size])
        for name, size in (("x", resnet.units), ("y", outputs))
    ]
    made = helper.make_graph(graph.nodes, "network", ends[:1], ends[1:], graph.arrays)
    made.doc_string = (
        f"{network.formula()}, {resnet.mesh.layers} steps of Euler's method to "
        f"T = {resnet.mesh.horizon:g}; samples in rows"
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR,
        producer_name="continuum-networks",
    )
    onnx.checker.check_model(model, full_check=True)
    return write_whole(Path(path), lambda temporary: onnx.save(model, temporary, format="protobuf"))


def _onnx() -> ModuleType:
    try:
        import onnx  # type: ignore[import-not-found]  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("save_onnx needs onnx: pip install onnx") from error
    return onnx


class _Graph:
    """The nodes and the arrays of a graph; arrays that layers share are stored once."""

    def __init__(self, onnx: ModuleType, dtype: str) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[object] = []
        self.arrays: list[object] = []
        self._names: dict[int, tuple[Array, str]] = {}
        self._numbers: dict[float, Array] = {}

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: float) -> str:
        """The name of the output of one more node."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        made = self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes)
        self.nodes.append(made)
        return output

    def constant(self, array: Array) -> str:
        """The name of an array."""
        if id(array) not in self._names:
            name = f"array_{len(self.arrays)}"
            values = np.ascontiguousarray(to_host(array), dtype=self.dtype)
            values = values.reshape(array.shape)
            self.arrays.append(self.onnx.numpy_helper.from_array(values, name))
            self._names[id(array)] = array, name
        return self._names[id(array)][1]

    def number(self, x: float) -> str:
        """The name of a number."""
        return self.constant(self._numbers.setdefault(x, np.array(x)))

    def layer(self, layer: Layer, x: str) -> str:
        """F(x)."""
        for one in layer:
            x = self.sublayer(one, x)
        return x

    def sublayer(self, one: Sublayer, x: str) -> str:
        """sigma(W [x; r] + a), with r in the bias."""
        matrix, bias = one.matrix, one.bias
        if one.rows is not None:
            matrix, bias = _without_rows(one)
        if matrix is not None:
            last = () if bias is None else (self.constant(bias),)
            x = self.node("Gemm", x, self.constant(matrix), *last, transB=1)
        elif bias is not None:
            x = self.node("Add", x, self.constant(bias))
        return self._bent(one.activation, x)

    def _bent(self, sigma: Activation, x: str) -> str:
        if sigma.code == compiled.IDENTITY:
            return x
        if sigma.code is not None and sigma.code in _OPERATORS:
            return self.node(_OPERATORS[sigma.code], x)
        if sigma.code == compiled.LEAKY_RELU:
            return self.node("Max", x, self.node("Mul", x, self.number(sigma.parameter)))
        if sigma.code == compiled.ELU:
            below = self.node("Elu", self.node("Min", x, self.number(0.0)), alpha=1.0)
            below = self.node("Mul", below, self.number(sigma.parameter))
            return self.node("Add", self.node("Relu", x), below)
        if sigma.code == compiled.GELU:
            inner = self.node("Erf", self.node("Mul", x, self.number(sqrt(0.5))))
            share = self.node("Add", inner, self.number(1.0))
            return self.node("Mul", self.node("Mul", x, share), self.number(0.5))
        raise TypeError(
            f"ONNX does not know the activation {sigma}: tanh, relu, sigmoid, arctan, softplus, "
            "gelu, leaky_relu and elu can be written"
        )


def _without_rows(one: Sublayer) -> tuple[Array, Array]:
    """W and a of sigma(W x + a), for rows below x that all samples share."""
    rows = to_host(one.rows)  # type: ignore[arg-type]
    if rows.shape[1] != 1:
        raise ValueError(
            f"network holds data of {rows.shape[1]} samples (Inputs), which a file for any samples "
            "cannot"
        )
    r = rows[:, 0]
    if one.matrix is None:
        raise ValueError("network must have a product behind Inputs, to be written to ONNX")
    matrix = to_host(one.matrix)
    units = matrix.shape[1] - len(r)
    shift = matrix[:, units:] @ r
    return matrix[:, :units], shift if one.bias is None else shift + to_host(one.bias)
