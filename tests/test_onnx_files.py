"""Networks as ONNX files: the reference evaluator of ONNX gives the output of the ResNet."""

import sys

import numpy as np
import pytest
from scipy.special import erf

from continuum import (
    Affine,
    Bottleneck,
    Integral,
    Interval,
    LowRank,
    NeuralODE,
    NeuralODE2,
    Projection,
    ResNet,
    SignedReadout,
    Softmax,
    State,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    arctan,
    elu,
    gauss_legendre,
    gelu,
    leaky_relu,
    relu,
    save_onnx,
    sigmoid,
    softplus,
    tanh,
)
from continuum.networks import Chain, Inputs, Linear, NormBound, Offset, Pointwise
from continuum.readouts import Readout
from studies import ContinuumClassifier

GRID = gauss_legendre(Interval(0, 2), 5)
MESH = TimeMesh(1.5, 4, grading=2.0)
ROWS = np.array([[0.3], [-0.2]])
NETWORKS = (
    *(Bottleneck(3, sigma, 4) for sigma in (tanh, relu, sigmoid, arctan, softplus, gelu, elu(0.7))),
    NeuralODE(3, leaky_relu(0.2)),
    NeuralODE2(3, tanh),
    WidthDepth(GRID, tanh),
    WidthDepth(GRID, tanh, LowRank(2)),
    SymmetricLayer(GRID, relu),
    Chain(3, (Inputs(time=True, data=ROWS), Linear("w", 3), Offset("b"), Pointwise(tanh))),
)


def control_of(network, rng, readout=None):
    space = network.controls(MESH)
    return space.joined(readout.blocks(network), {}).random(rng) if readout else space.random(rng)


def evaluated(path, x):
    reference = pytest.importorskip("onnx.reference")

    class Erf(reference.op_run.OpRun):  # ONNX's own computes in single precision
        op_domain = ""

        def _run(self, x):
            return (erf(x),)

    return reference.ReferenceEvaluator(str(path), new_ops=[Erf]).run(None, {"x": x.T})[0].T


@pytest.mark.crosscheck
@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.formula())
def test_files_give_the_output_of_the_resnet(network, tmp_path, rng):
    pytest.importorskip("onnx")
    control = control_of(network, rng)
    x = rng.standard_normal((len(network.weights), 7))
    wanted = ResNet.from_control(network, control)(x)
    path = save_onnx(tmp_path / "network.onnx", network, control, dtype="float64")
    found = evaluated(path, x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)
    save_onnx(path, network, control)
    single = evaluated(path, x.astype(np.float32))
    assert single.dtype == np.float32
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(single, wanted, atol=2e-5 * scale)
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]


READOUTS = (
    State(),
    Projection(np.arange(10.0).reshape(2, 5)),
    Affine(3),
    Affine(3, link=sigmoid),
    Softmax(3),
    Integral(),
    SignedReadout(np.array([[1.0, 0.0, -1.0, 1.0, 1.0]])),
)


@pytest.mark.crosscheck
@pytest.mark.parametrize("readout", READOUTS, ids=lambda r: r.formula())
def test_readouts(readout, tmp_path, rng):
    network = WidthDepth(GRID, tanh)
    control = control_of(network, rng, readout)
    values = control.at_layer(3, 1.5)
    x = rng.standard_normal((5, 7))
    final = ResNet.from_control(network, control)(x)
    wanted = readout.output(network, final, values)
    matrix, offset = readout.affine(network, values)
    if not isinstance(readout, Softmax) and getattr(readout, "link", tanh) is not sigmoid:
        np.testing.assert_allclose(matrix @ final + offset[:, None], wanted, rtol=1e-13)
    pytest.importorskip("onnx")
    path = save_onnx(tmp_path / "n.onnx", network, control, readout=readout, dtype="float64")
    np.testing.assert_allclose(evaluated(path, x), wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.crosscheck
def test_what_cannot_be_written(tmp_path, rng):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "network.onnx"

    class Mean(Affine):
        def affine(self, network, c):
            return Readout.affine(self, network, c)

    network = Bottleneck(3, tanh, 4)
    with pytest.raises(TypeError, match="readout must be an affine map of the state"):
        save_onnx(path, network, control_of(network, rng, Affine(2)), readout=Mean(2))
    data = Chain(3, (Inputs(data=np.ones((2, 5))), Linear("w", 3), Offset("b"), Pointwise(tanh)))
    with pytest.raises(ValueError, match="holds data of 5 samples"):
        save_onnx(path, data, control_of(data, rng))
    bounded = Chain(3, (Linear("w", 3), NormBound(2.0)))
    with pytest.raises(TypeError, match="the map NormBound of the network is no part"):
        save_onnx(path, bounded, control_of(bounded, rng))
    with pytest.raises(OSError, match="cannot write in"):
        save_onnx(tmp_path / "none" / "n.onnx", network, control_of(network, rng))
    assert not list(tmp_path.iterdir())
    same = network.control(MESH, weight1=1.0, weight2=2.0)
    save_onnx(path, network, same)
    made = onnx.load(str(path))
    assert len(made.graph.initializer) == 4 + MESH.layers  # arrays that layers share, and tau_k
    assert [i.version for i in made.opset_import] == [17]


def test_without_onnx(tmp_path, monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "onnx", None)
    network = Bottleneck(3, tanh, 4)
    with pytest.raises(ImportError, match="save_onnx needs onnx: pip install onnx"):
        save_onnx(tmp_path / "network.onnx", network, control_of(network, rng))


@pytest.mark.crosscheck
def test_an_estimator(tmp_path, rng):
    pytest.importorskip("onnx")
    x = rng.uniform(-1, 1, (40, 2))
    model = ContinuumClassifier(hidden=4, layers=3, tol=1e-1, random_state=0)
    model.fit(x, np.where(x[:, 0] > x[:, 1], "right", "left"))
    readout = Softmax(2)
    path = save_onnx(
        tmp_path / "m.onnx", model.network_, model.control_, readout=readout, dtype="float64"
    )
    inputs = np.concatenate([x, np.zeros((40, 1))], axis=1)
    np.testing.assert_allclose(evaluated(path, inputs.T).T, model.predict_proba(x), rtol=1e-12)
