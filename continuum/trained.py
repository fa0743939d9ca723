"""Trained residual networks as controls, and back: layers f <- f + W2 sigma(W1 f + b1) + b2.

A network of L such layers is the explicit Euler method, with L steps of length 1/L, of

    d/dt x = L W2 sigma(W1 x + b1) + L b2,    0 <= t <= 1,

so W2 and b2 are multiplied by L, the depth, and W1 and b1 stay.  PyTorch is never imported.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .activations import Activation, elu, gelu, leaky_relu, relu, sigmoid, softplus, tanh
from .arrays import Array, to_host
from .checks import check_array, check_listed, check_squares, check_type, shown
from .controls import Control, ControlPath
from .doors import REMEDIES, checked
from .meshes import TimeMesh
from .networks import Bottleneck, Network
from .records import short
from .resnet import ResNet

FORM = "f <- f + W2 sigma(W1 f + b1) + b2"

Given = Array | Sequence[Array]
"""Stacked along the layers, or a list of layers."""


@dataclass(frozen=True, eq=False)
class Imported:
    """A residual network of the form f <- f + W2 sigma(W1 f + b1) + b2 as a control problem has it.

    network : in R^d, with h hidden units
    control : constant on the L layers of the horizon 1; "weight2" and "bias2" are L times those of
        the layers
    names : of the two linear maps of a layer, with {} for its number, as `to_torch_state` takes
        them; None where there was no state dict, or layers are not numbered 0, 1, ...
    compared : the largest distance between the module's own outputs and those of `resnet`, relative
        to the largest output, on three inputs; None where there was nothing that could be called
    """

    network: Bottleneck
    control: Control
    names: tuple[str, str] | None = None
    compared: float | None = None

    __repr__ = short

    @property
    def resnet(self) -> ResNet:
        """The layers: their output is that of the network imported, to rounding."""
        return ResNet.from_control(self.network, self.control)


def from_residual_mlp(
    W1: Given, b1: Given | None, W2: Given, b2: Given | None, activation: Activation
) -> Imported:
    """The network and the control whose Euler steps of length 1/L are these layers.

        f <- f + W2[k] sigma(W1[k] f + b1[k]) + b2[k],    k = 0, ..., L - 1

    W1 : (L, h, d), or a list of L matrices (h, d)
    b1 : (L, h), or a list; None for 0
    W2 : (L, d, h), or a list
    b2 : (L, d), or a list; None for 0
    raises TypeError for an activation that is none of the package's class, ValueError for layers of
        unequal width and arrays that do not fit each other, each by name
    """
    check_type("activation", activation, Activation)
    first = check_array("W1", _stacked("W1", W1), ("L", "h", "d"))
    layers, hidden, units = first.shape
    second = check_array("W2", _stacked("W2", W2), (layers, units, hidden))
    network = Bottleneck(units, activation, hidden)
    check_squares("W2", second)
    blocks = {"weight1": first, "weight2": layers * second}
    for name, given, block, width, factor in (
        ("b1", b1, "bias1", hidden, 1),
        ("b2", b2, "bias2", units, layers),
    ):
        bias = np.zeros((layers, width)) if given is None else _stacked(name, given)
        bias = check_array(name, bias, (layers, width))
        check_squares(name, bias)
        blocks[block] = factor * bias
    space = network.controls(TimeMesh(1.0, layers))
    return Imported(network, Control(space, blocks))


@checked
def from_torch(
    module: object,
    activation: Activation | None = None,
    *,
    prefix: str = "",
    maps: tuple[str, str] | None = None,
) -> Imported:
    """The network and the control of a PyTorch module of layers f <- f + W2 sigma(W1 f + b1) + b2.

        found = from_torch(model.blocks)
        found.resnet(x)     # x (d, M), samples in columns: what model.blocks gives, to rounding
        to_torch_state(found.network, control, found.names)     # back, after training it further

    What is read: `state_dict()`, where every linear map is a "NAME.weight" (m, n) with or without a
    "NAME.bias" (m,), and the two of one layer have the same name but for its last part, such as
    "blocks.3.fc1" and "blocks.3.fc2"; and `named_modules()`, by the names of the classes, for the
    activation.  Layers that differ by numbers in their names are put in the order of the numbers,
    others in that of the state dict.  A module that can be called is compared with the layers on
    three inputs (three rows), in the mode in which it is.  Which map of a layer comes first is told
    by `maps`, by these outputs, or by numbers in the names (fc1 and fc2, 0 and 2), never by the
    order of a state dict, which may be that of the alphabet.

    module : anything with `state_dict()`, or a mapping from names to arrays or tensors; a mapping,
        or a module that cannot be called, does not say whether its layers are residual
    activation : needed where no submodule says it (a mapping, or functions in `forward`).  The
        Softplus of PyTorch is s for s > 20, by 2e-9 less than `softplus`
    prefix : read only names that begin so, "blocks." for the layers between an embedding and a head
    maps : how the names of the first and of the second map of a layer end, ("up", "down") for
        "blocks.3.up.weight" and "blocks.3.down.weight"; needed where neither outputs nor numbers
        say which comes first
    raises TypeError for what has no state dict; ValueError, with the name, for what is no linear
        map, layers of unequal width, an unknown activation, a module that is not residual, and maps
        of which nothing says which comes first
    """
    state = _state(module, prefix)
    modules = _submodules(module, prefix)
    layers, told = _layers(state, maps)
    if activation is None:
        activation = _activation(modules)
    caller = module if not prefix else modules.get("")
    orders = [layers] if maps is not None else [layers, [(b, a) for a, b in layers]]
    found = [_imported(state, order, activation) for order in orders]
    compared = [_compared(caller, one) for one in found]
    agreeing = [n for n, distance in enumerate(compared) if isinstance(distance, float)]
    for why in compared:
        if isinstance(why, str) and not agreeing:
            raise ValueError(why)
    if not told and len(agreeing) != 1:
        first, second = (name.rpartition(".")[2] for name in layers[0])
        raise ValueError(
            f"nothing says which of {first!r} and {second!r} comes first in a layer, neither "
            f"numbers nor outputs: give maps={(first, second)} or maps={(second, first)}"
        )
    chosen = agreeing[0] if agreeing else 0
    distance = compared[chosen]
    return replace(
        found[chosen],
        names=_pattern(prefix, orders[chosen]),
        compared=distance if isinstance(distance, float) else None,
    )


@checked
def to_torch_state(
    network: Network,
    control: ControlPath,
    names: tuple[str, str] = ("layers.{}.0", "layers.{}.2"),
) -> dict[str, Array]:
    """A state dict of the Euler steps of a `Bottleneck`: f <- f + W2 sigma(W1 f + b1) + b2.

        model.load_state_dict({n: torch.as_tensor(x) for n, x in to_torch_state(...).items()})

    W2 and b2 are multiplied by the lengths of the steps, so that `from_torch` of the result is the
    control again where it is constant on layers of equal length and the horizon is 1.  A control
    that depends on time otherwise is taken at the left ends of layers, as `ResNet.from_control`
    does.

    names : of the two linear maps of a layer, with {} for its number
    returns NumPy arrays by name: "layers.0.0.weight" (h, d), "layers.0.0.bias" (h,),
        "layers.0.2.weight" (d, h), "layers.0.2.bias" (d,), ...
    raises TypeError for another network, ValueError for a control of another one
    """
    check_type("network", network, Bottleneck)
    check_listed("names", names)
    if len(set(names)) != 2 or any(not isinstance(n, str) or "{}" not in n for n in names):
        raise ValueError(f"names must be two texts with {{}} for the layer, got {names!r}")
    resnet = ResNet.from_control(network, control)
    state: dict[str, Array] = {}
    for k, (layer, tau) in enumerate(zip(resnet.layers, resnet.mesh.steps.tolist(), strict=True)):
        for name, one, factor in zip(names, layer, (1.0, tau), strict=True):
            name = name.replace("{}", str(k))
            state[f"{name}.weight"] = factor * to_host(one.matrix)  # type: ignore[arg-type]
            state[f"{name}.bias"] = factor * to_host(one.bias)  # type: ignore[arg-type]
    return state


def _numbers(x: object) -> Array:
    """A tensor or an array as NumPy's float64, wherever it is."""
    for step in ("detach", "cpu", "double", "numpy"):
        if hasattr(x, step):
            x = getattr(x, step)()
    return np.asarray(x, dtype=np.float64)


def _stacked(name: str, given: Given) -> Array:
    """One array of the layers.  Raises ValueError, with the layer, where their shapes differ."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        return _numbers(given) if hasattr(given, "detach") else given  # type: ignore[return-value]
    rows = []
    for k, one in enumerate(given):
        try:
            rows.append(_numbers(one))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name}[{k}] is not an array of numbers: {error}") from None
        if rows[k].shape != rows[0].shape:
            raise ValueError(
                f"layers must be of equal width: {name}[{k}] has shape {rows[k].shape}, {name}[0] "
                f"has {rows[0].shape}"
            )
    return np.stack(rows) if rows else np.zeros((0,))


def _state(module: object, prefix: str) -> dict[str, Array]:
    """The arrays of a state dict by name, those that begin with `prefix`, which is cut off."""
    read = None if isinstance(module, type) else getattr(module, "state_dict", None)
    given = read() if callable(read) else module
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(
            "module must have state_dict(), or be a mapping from names to arrays, got "
            f"{shown(module)}"
        )
    check_type("prefix", prefix, str)
    found = {n.removeprefix(prefix): x for n, x in given.items() if n.startswith(prefix)}
    if not found:
        raise ValueError(
            f"module has no arrays with names that begin with {prefix!r}; it has {list(given)}"
        )
    state = {}
    for name, x in found.items():
        try:
            state[name] = check_array(name, _numbers(x), _numbers(x).shape)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} of the module is not an array of numbers: {error}") from None
    return state


def _submodules(module: object, prefix: str) -> dict[str, object]:
    """Submodules by name, those under `prefix`, which is cut off; "" is what stands there."""
    listed = getattr(module, "named_modules", None)
    if not callable(listed):
        return {}
    wanted = prefix.removesuffix(".")
    pairs: Iterable[tuple[str, object]] = listed()  # type: ignore[assignment]
    return {
        name.removeprefix(wanted).removeprefix("."): one
        for name, one in pairs
        if not wanted or name == wanted or name.startswith(wanted + ".")
    }


def _layers(
    state: Mapping[str, Array], maps: tuple[str, str] | None
) -> tuple[list[tuple[str, str]], bool]:
    """The names of the two linear maps of every layer, in order, and whether `maps` or numbers in
    the names tell which comes first.
    """
    if maps is not None and (len(set(maps)) != 2 or not all(maps)):
        raise ValueError(f"maps must be two names, of the first and the second map, got {maps!r}")
    layers: dict[str, list[str]] = {}
    for name, x in state.items():
        stem, dot, kind = name.rpartition(".")
        if (kind, x.ndim) not in (("weight", 2), ("bias", 1)) or f"{stem}{dot}weight" not in state:
            raise ValueError(
                f"{name} of the module has shape {x.shape} and is no part of a linear map: layers "
                f"must be {FORM}"
            )
        if kind == "weight":
            layers.setdefault(_parent(stem, maps), []).append(stem)
    for parent, stems in layers.items():
        if len(stems) != 2:
            raise ValueError(
                f"module is not residual: {parent or 'its outermost level'!r} has {len(stems)} "
                f"linear maps ({', '.join(filter(None, stems)) or 'itself'}), a layer {FORM} has "
                "two; choose the layers with prefix="
            )
    parents, told = list(layers), True
    if _numbered(parents):
        parents.sort(key=_counted)
    for stems in layers.values():
        if maps is not None:
            stems.sort(key=lambda stem: _ends(stem, maps[1]))
        elif _numbered([stem.rpartition(".")[2] for stem in stems]):
            stems.sort(key=lambda stem: _counted(stem.rpartition(".")[2]))
        else:
            told = False
    return [(layers[p][0], layers[p][1]) for p in parents], told


def _parent(stem: str, maps: tuple[str, str] | None) -> str:
    """The name of the layer of a linear map."""
    if maps is None:
        return stem.rpartition(".")[0]
    for end in maps:
        if _ends(stem, end):
            return stem.removesuffix(end).removesuffix(".")
    raise ValueError(
        f"{stem} ends in none of maps, {maps[0]!r}, {maps[1]!r}; choose the layers with prefix="
    )


def _ends(stem: str, end: str) -> bool:
    return f".{stem}".endswith(f".{end}")


def _numbered(names: Sequence[str]) -> bool:
    """Whether names differ by numbers only."""
    return len({re.sub(r"\d+", "#", name) for name in names}) == 1


def _counted(name: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", name)]


def _pattern(prefix: str, layers: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The names of the maps with {} for the number of the layer, if that is all they differ by."""
    first, second = layers[0]
    for one in re.finditer(r"(?<!\d)0(?!\d)", first):
        names = [n[: one.start()] + "{}" + n[one.end() :] for n in (first, second)]
        if layers == [tuple(n.replace("{}", str(k)) for n in names) for k in range(len(layers))]:
            return prefix + names[0], prefix + names[1]
    return None


def _imported(
    state: Mapping[str, Array], layers: Sequence[tuple[str, str]], activation: Activation
) -> Imported:
    """The layers with the first and the second map of each."""
    first, second = ([pair[n] for pair in layers] for n in (0, 1))
    _check_widths(state, layers)
    weights = [[state[f"{name}.weight"] for name in names] for names in (first, second)]
    biases = [
        [state.get(f"{name}.bias", np.zeros(len(w))) for name, w in zip(*pair, strict=True)]
        for pair in ((first, weights[0]), (second, weights[1]))
    ]
    return from_residual_mlp(weights[0], biases[0], weights[1], biases[1], activation)


def _check_widths(state: Mapping[str, Array], layers: Sequence[tuple[str, str]]) -> None:
    """Raises ValueError, with the name, for a layer that is not (h, d), (d, h) as the first one."""
    hidden, units = state[f"{layers[0][0]}.weight"].shape
    for pair in layers:
        for name, wanted in zip(pair, ((hidden, units), (units, hidden)), strict=True):
            shape = state[f"{name}.weight"].shape
            if shape != wanted:
                raise ValueError(
                    f"{name}.weight has shape {shape}, expected {wanted}: layers are {FORM}, "
                    f"all of the width of {layers[0][0]}; choose the layers with prefix="
                )


def _activation(modules: Mapping[str, object]) -> Activation:
    """The one activation that the submodules name."""
    found: dict[str, tuple[str, Activation]] = {}
    for name, one in modules.items():
        inner = any(other.startswith(f"{name}.") for other in modules) if name else True
        kind = type(one).__name__
        if inner or kind in ("Linear", "Dropout", "Identity"):
            continue
        known = _known(one)
        if known is None:
            raise ValueError(
                f"unknown activation {kind!r} at {name!r}: Tanh, ReLU, Sigmoid, Softplus, GELU, "
                "LeakyReLU and ELU are known; give activation= for another"
            )
        found.setdefault(known.name, (name, known))
    if len(found) == 1:
        return next(iter(found.values()))[1]
    if not found:
        raise ValueError("activation must be given: no submodule says which it is")
    places = ", ".join(f"{name} at {place!r}" for name, (place, _) in found.items())
    raise ValueError(f"layers must have the same activation, the module has {places}")


def _known(one: object) -> Activation | None:
    """The activation of a submodule, by the name of its class and its numbers."""
    kind = type(one).__name__
    if kind == "LeakyReLU":
        return leaky_relu(float(getattr(one, "negative_slope", 0.01)))
    if kind == "ELU":
        return elu(float(getattr(one, "alpha", 1.0)))
    plain = getattr(one, "approximate", "none") == "none" and getattr(one, "beta", 1) == 1
    named = {"Tanh": tanh, "ReLU": relu, "Sigmoid": sigmoid, "Softplus": softplus, "GELU": gelu}
    return named.get(kind) if plain else None


def _compared(module: object, found: Imported) -> float | str | None:
    """The distance of the module's outputs from those of the layers, on three inputs, relative to
    the largest; why they are not the same; None if the module cannot be called so.
    """
    if not callable(module):
        return None
    x = np.cos(np.arange(3.0 * found.network.units)).reshape(found.network.units, 3)
    rows = x.T.tolist()
    weight = next(iter(module.state_dict().values()))  # type: ignore[attr-defined]
    try:
        given = weight.new_tensor(rows) if hasattr(weight, "new_tensor") else np.array(rows)
        output = _numbers(module(given)).T
    except Exception:  # it takes something else, or has no forward of its own
        return None
    resnet = found.resnet
    own = resnet(x)
    if output.shape != own.shape:
        return None
    scale = max(float(np.abs(own).max()), float(np.abs(output).max()))
    distance = float(np.abs(output - own).max())
    if distance <= 1e-3 * scale:  # outputs may be of single precision
        return distance / scale if scale else 0.0
    plain = x
    for layer, tau in zip(resnet.layers, resnet.mesh.steps.tolist(), strict=True):
        inner = layer[0](plain)
        plain = tau * layer[1](inner)
    bare = np.abs(output - plain).max() <= 1e-3 * scale
    if bare:
        return "module is not residual: its layers do not add their input"
    return (
        f"module is not residual, or has another activation than {found.network.activation.name}: "
        f"its outputs differ from those of {FORM} by up to {distance:.3g}, of {scale:.3g}; a "
        "scaled sum, a normalisation without weights, an activation at the end or dropout in "
        "training mode does this, too"
    )


for _wanted, _parts in (
    ("a Network", ".network, beside .control"),
    ("a Chain", ".network, beside .control"),
    ("a ResNet", ".resnet"),
):
    REMEDIES[Imported, _wanted] = f": take its {_parts}"
