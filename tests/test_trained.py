"""Trained networks in, models out: layers given as arrays and state dicts, controls in files."""

import json

import h5py
import numpy as np
import pytest

from continuum import (
    Bottleneck,
    Interval,
    LearningProblem,
    NeuralODE,
    TimeMesh,
    WidthDepth,
    from_residual_mlp,
    from_torch,
    gauss_legendre,
    gelu,
    leaky_relu,
    relu,
    tanh,
    to_torch_state,
)
from continuum.io import load_control, load_states, save_control, save_states
from solvers import LBFGS, Euler, integrate, minimize, ode_test

LAYERS, UNITS, HIDDEN = 11, 4, 6


def weights(rng, layers=LAYERS):
    return (
        rng.standard_normal((layers, HIDDEN, UNITS)),
        rng.standard_normal((layers, HIDDEN)),
        rng.standard_normal((layers, UNITS, HIDDEN)) / layers,
        rng.standard_normal((layers, UNITS)) / layers,
    )


def outputs(arrays, x, activation=np.tanh):
    for w1, b1, w2, b2 in zip(*arrays, strict=True):
        x = x + w2 @ activation(w1 @ x + b1[:, None]) + b2[:, None]
    return x


class Module:
    """What `from_torch` asks of a module, without PyTorch."""

    def __init__(self, state, modules=None, forward=None):
        self.state, self.modules, self.forward = state, modules or {}, forward

    def state_dict(self):
        return self.state

    def named_modules(self):
        yield "", self
        yield from self.modules.items()

    def __call__(self, x):
        if self.forward is None:
            raise NotImplementedError
        return self.forward(x)


def of_class(name, **fields):
    return type(name, (), fields)()


def state_of(arrays, first="blocks.{}.fc1", second="blocks.{}.fc2"):
    state = {}
    for k, (w1, b1, w2, b2) in enumerate(zip(*arrays, strict=True)):
        state |= {f"{first.format(k)}.weight": w1, f"{first.format(k)}.bias": b1}
        state |= {f"{second.format(k)}.weight": w2, f"{second.format(k)}.bias": b2}
    return state


@pytest.mark.parametrize("listed", [False, True])
def test_layers_give_their_own_output(listed, rng):
    arrays = weights(rng)
    x = rng.standard_normal((UNITS, 5))
    found = from_residual_mlp(*([list(a) for a in arrays] if listed else arrays), activation=tanh)
    np.testing.assert_allclose(found.resnet(x), outputs(arrays, x), rtol=1e-14, atol=1e-14)
    run = integrate(found.network, found.control, x, Euler())
    np.testing.assert_allclose(run.trajectory.final, outputs(arrays, x), rtol=1e-14, atol=1e-14)
    assert found.control.mesh.horizon == 1.0
    np.testing.assert_array_equal(found.control["weight2"], LAYERS * arrays[2])


def test_layers_without_biases(rng):
    w1, b1, w2, b2 = weights(rng)
    x = rng.standard_normal((UNITS, 2))
    found = from_residual_mlp(w1, None, w2, None, relu)
    wanted = outputs((w1, 0 * b1, w2, 0 * b2), x, lambda s: np.maximum(s, 0))
    np.testing.assert_allclose(found.resnet(x), wanted, rtol=1e-14, atol=1e-14)


def test_layers_that_do_not_fit(rng):
    w1, b1, w2, b2 = weights(rng)
    with pytest.raises(ValueError, match=r"equal width: W1\[1\] has shape \(5, 4\), W1\[0\] has"):
        from_residual_mlp([w1[0], w1[1, :5]], None, list(w2[:2]), None, tanh)
    with pytest.raises(ValueError, match=r"W2 has shape .*its transpose would fit"):
        from_residual_mlp(w1, b1, w1, b2, tanh)
    with pytest.raises(ValueError, match=r"b2 has shape \(11, 6\), expected \(11, 4\)"):
        from_residual_mlp(w1, b1, w2, b1, tanh)
    with pytest.raises(TypeError, match="activation must be an Activation, got 'swish'"):
        from_residual_mlp(w1, b1, w2, b2, "swish")
    for wrong in ("a", [[10**400]], [[1, 2], [3]]):
        with pytest.raises(ValueError, match=r"W1\[0\] is not an array of numbers"):
            from_residual_mlp([wrong], None, list(w2), None, tanh)


def test_a_module_and_its_state_dict(rng):
    arrays = weights(rng)
    x = rng.standard_normal((UNITS, 3))
    state = state_of(arrays)
    shuffled = dict(sorted(state.items()))  # blocks.10 before blocks.2
    assert list(shuffled)[8].startswith("blocks.10.")
    modules = {f"blocks.{k}.act": of_class("Tanh") for k in range(LAYERS)}
    module = Module(shuffled, modules, lambda rows: outputs(arrays, rows.T).T)
    for found in (from_torch(module), from_torch(shuffled, tanh)):
        np.testing.assert_allclose(found.resnet(x), outputs(arrays, x), rtol=1e-14, atol=1e-14)
    compared = from_torch(module).compared
    assert compared is not None
    assert compared < 1e-14
    assert from_torch(shuffled, tanh).compared is None
    assert from_torch(module).names == ("blocks.{}.fc1", "blocks.{}.fc2")
    embedded = {"embed.weight": np.ones((UNITS, 9)), **state, "head.weight": np.ones((2, UNITS))}
    found = from_torch(Module(embedded, modules), prefix="blocks.")
    assert found.names == ("blocks.{}.fc1", "blocks.{}.fc2")
    assert set(to_torch_state(found.network, found.control, found.names)) == set(state)
    sequence = state_of(arrays, "0.{}.0.inner.0", "0.{}.0.inner.2")  # zeros that are no number
    assert from_torch(sequence, tanh).names == ("0.{}.0.inner.0", "0.{}.0.inner.2")
    lettered = {name.replace("blocks.1.", "blocks.b."): one for name, one in state.items()}
    assert from_torch(lettered, tanh).names is None
    np.testing.assert_allclose(found.resnet(x), outputs(arrays, x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("hidden", [UNITS, HIDDEN])
@pytest.mark.parametrize("pair", [("up", "down"), ("c_fc", "c_proj"), ("in", "out")])
def test_the_order_of_maps_is_told_or_refused(hidden, pair, rng):
    """Sorted by name, "down" comes before "up": only `maps`, numbers or outputs tell."""
    arrays = tuple(
        a[:, :hidden] if n < 2 else a[..., :hidden] for n, a in enumerate(weights(rng)[:3])
    )
    arrays = (*arrays, weights(rng)[3])
    x = rng.standard_normal((UNITS, 5))
    wanted = outputs(arrays, x)
    state = dict(sorted(state_of(arrays, *(f"blocks.{{}}.{name}" for name in pair)).items()))
    found = from_torch(state, tanh, maps=pair)
    np.testing.assert_allclose(found.resnet(x), wanted, rtol=1e-14, atol=1e-14)
    names = ", ".join(sorted(map(repr, pair)))
    with pytest.raises(ValueError, match=rf"which of .* comes first.*maps=\({names}\)"):
        from_torch(state, tanh)
    modules = {"act": of_class("Tanh")}
    with pytest.raises(ValueError, match=r"give maps="):
        from_torch(Module(state, modules))  # nothing that can be called
    called = Module(state, modules, lambda rows: outputs(arrays, rows.T).T)
    for maps in (None, pair):
        np.testing.assert_allclose(from_torch(called, maps=maps).resnet(x), wanted, atol=1e-13)
    numbered = dict(reversed(state_of(arrays).items()))
    found = from_torch(numbered, tanh)
    np.testing.assert_allclose(found.resnet(x), wanted, rtol=1e-14, atol=1e-14)


def test_outputs_that_do_not_tell_the_order(rng):
    """Layers that are 0 at the start, by a second map of zeros, are so in either order."""
    w1, _, w2, _ = weights(rng, 3)
    zeros = np.zeros((3, HIDDEN)), np.zeros((3, UNITS))
    arrays = (w1, zeros[0], 0 * w2, zeros[1])
    state = state_of(arrays, "blocks.{}.up", "blocks.{}.down")
    module = Module(state, {"act": of_class("Tanh")}, lambda rows: rows)
    with pytest.raises(ValueError, match="which of 'up' and 'down' comes first"):
        from_torch(module)
    assert from_torch(module, maps=("up", "down")).compared == 0.0


def test_maps_by_names_with_dots_and_names_that_are_not_there(rng):
    arrays = weights(rng, 3)
    x = rng.standard_normal((UNITS, 2))
    state = state_of(arrays, "blocks.{}.up.linear", "blocks.{}.down.linear")
    found = from_torch(dict(sorted(state.items())), tanh, maps=("up.linear", "down.linear"))
    np.testing.assert_allclose(found.resnet(x), outputs(arrays, x), rtol=1e-14, atol=1e-14)
    with pytest.raises(ValueError, match=r"blocks.0.up.linear ends in none of maps, 'fc1', 'fc2'"):
        from_torch(state, tanh, maps=("fc1", "fc2"))
    for wrong in (("up",), ("up", "up"), ("up", 2), "ud", ("", "up")):
        with pytest.raises((TypeError, ValueError), match=r"maps.* must"):
            from_torch(state, tanh, maps=wrong)


def test_activations_by_the_names_of_their_classes(rng):
    state = state_of(weights(rng, 2))
    for one, wanted in (
        (of_class("GELU", approximate="none"), gelu),
        (of_class("LeakyReLU", negative_slope=0.2), leaky_relu(0.2)),
        (of_class("ReLU"), relu),
    ):
        modules = {"blocks": of_class("ModuleList"), "blocks.act": one}
        found = from_torch(Module(state, modules)).network.activation
        assert found.name == wanted.name
    for one in (of_class("SiLU"), of_class("GELU", approximate="tanh")):
        with pytest.raises(ValueError, match=f"unknown activation '{type(one).__name__}' at 'act'"):
            from_torch(Module(state, {"act": one}))
    with pytest.raises(ValueError, match="activation must be given"):
        from_torch(state)
    with pytest.raises(
        ValueError, match="same activation, the module has tanh at 'a', relu at 'b'"
    ):
        from_torch(Module(state, {"a": of_class("Tanh"), "b": of_class("ReLU")}))


def test_modules_that_are_not_residual(rng):
    arrays = weights(rng, 3)
    state, modules = state_of(arrays), {"act": of_class("Tanh")}

    def plain(rows):
        x = rows.T
        for w1, b1, w2, b2 in zip(*arrays, strict=True):
            x = w2 @ np.tanh(w1 @ x + b1[:, None]) + b2[:, None]
        return x.T

    with pytest.raises(ValueError, match="not residual: its layers do not add their input"):
        from_torch(Module(state, modules, plain))
    with pytest.raises(ValueError, match="or has another activation than tanh: its outputs differ"):
        from_torch(Module(state, modules, lambda rows: np.tanh(outputs(arrays, rows.T).T)))
    with pytest.raises(ValueError, match="'its outermost level' has 3 linear maps") as error:
        from_torch({f"{n}.weight": np.eye(3) for n in range(3)}, tanh)
    assert "prefix=" in str(error.value)
    unequal = {**state, "blocks.1.fc1.weight": np.ones((7, UNITS))}
    with pytest.raises(
        ValueError, match=r"blocks\.1\.fc1.weight has shape \(7, 4\), expected \(6, 4"
    ):
        from_torch(unequal, tanh)
    with pytest.raises(ValueError, match=r"blocks.0.norm.weight of the module has shape \(4,\)"):
        from_torch({"blocks.0.norm.weight": np.ones(4), **state}, tanh)
    with pytest.raises(ValueError, match="no arrays with names that begin with 'layers'"):
        from_torch(state, tanh, prefix="layers")
    for wrong in (3, Module, {1: np.eye(3)}, None):
        with pytest.raises(TypeError, match="module must have state_dict"):
            from_torch(wrong, tanh)
    with pytest.raises(ValueError, match=r"blocks\.0\.fc1\.weight of the module is not an array"):
        from_torch({**state, "blocks.0.fc1.weight": "text"}, tanh)


def test_out_and_in_again(rng):
    found = from_residual_mlp(*weights(rng), tanh)
    state = to_torch_state(found.network, found.control, ("b.{}.up", "b.{}.down"))
    assert list(state)[:2] == ["b.0.up.weight", "b.0.up.bias"]
    again = from_torch(state, tanh, maps=("up", "down"))
    for name, x in found.control.items():
        np.testing.assert_allclose(again.control[name], x, rtol=1e-15)
    mesh = TimeMesh(3.0, 5, grading=2.0)  # steps of other lengths are in the state
    network = Bottleneck(UNITS, tanh, HIDDEN)
    control = network.controls(mesh).random(rng)
    x = rng.standard_normal((UNITS, 2))
    wanted = integrate(network, control, x, Euler()).trajectory.final
    back = from_torch(to_torch_state(network, control), tanh)
    np.testing.assert_allclose(back.resnet(x), wanted, rtol=1e-13)
    with pytest.raises(TypeError, match="network must be a Bottleneck"):
        to_torch_state(NeuralODE(2, tanh), control)
    with pytest.raises(ValueError, match="names must be two texts"):
        to_torch_state(network, control, ("up", "down"))


def test_an_imported_network_is_trained_on(rng):
    """In, a few steps of descent from the weights that came, and out again."""
    found = from_residual_mlp(*weights(rng), tanh)
    x = rng.standard_normal((UNITS, 9))
    problem = LearningProblem(found.network, x, np.zeros((UNITS, 9)), found.control.space)
    begin = problem.space.check("control", found.control)
    better = minimize(problem, LBFGS(max_iterations=5), initial=begin, raise_on_failure=False)
    assert better.history["objective"][0] == pytest.approx(
        np.mean(np.sum(found.resnet(x) ** 2, axis=0)) / 2, rel=1e-13
    )
    assert better.objective < 0.5 * better.history["objective"][0]
    back = from_torch(to_torch_state(found.network, better.control), tanh)
    assert np.sum(back.resnet(x) ** 2) / 18 == pytest.approx(better.objective, rel=1e-12)


@pytest.mark.parametrize("suffix", ["h5", "npz"])
@pytest.mark.parametrize("mesh", [TimeMesh(2.0, 3, 1.5), TimeMesh.through([0.0, 0.5, 0.6, 2.0])])
def test_controls_in_both_formats(suffix, mesh, tmp_path, rng):
    space = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh).controls(mesh, fixed={"bias": 0.5})
    control = space.random(rng)
    path = save_control(tmp_path / f"control.{suffix}", control)
    back = load_control(path, space)
    np.testing.assert_array_equal(back["kernel"], control["kernel"])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    times, states = np.linspace(0, 1, 3), rng.standard_normal((3, 4, 2))
    other = save_states(tmp_path / f"states.{suffix}", times, states)
    np.testing.assert_array_equal(load_states(other)[1], states)
    with pytest.raises(ValueError, match="not a control saved by this package"):
        load_control(other, space)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged, cut short or not an"):
        load_control(path, space)


def test_the_schema_of_npz_as_it_is_stated(tmp_path, rng):
    space = Bottleneck(2, tanh, 3).controls(TimeMesh(1.0, 4))
    path = save_control(tmp_path / "control.npz", space.random(rng))
    with np.load(path) as file:
        text = json.loads(str(file["continuum"]))
        assert file["weight1"].shape == (4, 3, 2)
    assert text == {
        "continuum_kind": "control",
        "continuum_version": 1,
        "horizon": 1.0,
        "layers": 4,
        "grading": 1.0,
        "blocks": {b.name: {"time": "layers", "fixed": False} for b in space.blocks},
    }


def test_files_of_other_versions(tmp_path, rng):
    """A file as the first version of this package wrote it is read, one of a later schema not."""
    space = NeuralODE(2, tanh).controls(TimeMesh(1.0, 3))
    control, path = space.random(rng), tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(continuum_kind="control", continuum_version=1)
        file.attrs.update(horizon=1.0, layers=3, grading=1.0)
        for name, x in control.items():
            file.create_dataset(name, data=x).attrs.update(time="layers", fixed=False)
    np.testing.assert_array_equal(load_control(path, space)["weight"], control["weight"])
    with h5py.File(path, "a") as file:
        file.attrs["continuum_version"] = 2
    with pytest.raises(ValueError, match="of version 2 of the schema, this package reads up to 1"):
        load_control(path, space)


def test_an_imported_network_where_its_parts_are_wanted():
    found = from_residual_mlp(np.ones((3, 2, 2)), None, np.ones((3, 2, 2)), None, tanh)
    with pytest.raises(TypeError, match=r"take its \.resnet$"):
        ode_test(found)
    with pytest.raises(TypeError, match=r"take its \.network, beside \.control$"):
        integrate(found, found.control, np.ones((2, 1)), Euler())
