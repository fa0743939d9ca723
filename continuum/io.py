"""Controls and states in files: HDF5, which any HDF5 reader opens, or NumPy's .npz.

The suffix ".npz" of the name chooses NumPy's format, any other HDF5, which needs h5py.  A file is
written whole under a temporary name and then renamed, so a finished file is never half-written.

Schema, version 1, the same in both formats:

    a control   one array per block under its name, time first; the array "mesh.nodes" where the
                nodes of the mesh were given; attributes "horizon", "layers", "grading"; for every
                block "time" ("layers", "nodes" or "static") and "fixed"
    states      the arrays "times" (S,) and "states" (S, N, M)
    both        attributes "continuum_kind" ("control" or "states") and "continuum_version" (1)

In HDF5 arrays are datasets and attributes are attributes, those of a block at its dataset.  In .npz
the array "continuum" is a text in JSON: {"continuum_kind": ..., "continuum_version": 1, ...,
"blocks": {NAME: {"time": ..., "fixed": ...}}}.  A later version of the package reads this one; a
file of a later version is refused, by its number.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from zipfile import BadZipFile

import numpy as np

from .arrays import Array, to_host
from .checks import check_type
from .controls import Control, ControlSpace
from .doors import checked

__all__ = ["load_control", "load_states", "save_control", "save_states"]

_KIND, _VERSION, _TEXT = "continuum_kind", "continuum_version", "continuum"
_LATEST = 1

Attributes = Mapping[str, object]


@checked
def save_control(path: str | Path, control: Control) -> Path:
    """Writes the trained and fixed blocks of a control, with its mesh; the schema is at the top.

    path : ends in ".npz" for NumPy's format, in anything else for HDF5
    raises OSError if the folder cannot be written, TypeError for what is no Control
    """
    space = check_type("control", control, Control).space
    mesh = space.mesh
    arrays = {b.name: to_host(control[b.name]) for b in space.blocks}
    if mesh.given:
        arrays["mesh.nodes"] = mesh.nodes
    attributes = {"horizon": mesh.horizon, "layers": mesh.layers, "grading": mesh.grading}
    blocks = {b.name: {"time": b.time, "fixed": b.name in space.fixed} for b in space.blocks}
    return _write(path, "control", arrays, attributes, blocks)


@checked
def load_control(path: str | Path, space: ControlSpace) -> Control:
    """The control in a file, as a point of `space`.

    raises FileNotFoundError; ValueError for a file that is damaged, not a control, of a later
    version, or does not fit the space
    """
    data, attributes = _read(path, "control")
    mesh = check_type("space", space, ControlSpace).mesh
    for name in ("horizon", "layers", "grading"):
        if attributes.get(name) != getattr(mesh, name):
            raise ValueError(
                f"{path}: its {name} is {attributes.get(name)}, the space has {getattr(mesh, name)}"
            )
    if not np.array_equal(data.pop("mesh.nodes", ()), mesh.given):
        raise ValueError(f"{path}: its layers end at other times than those of the space")
    try:
        return Control(space, {b.name: data[b.name] for b in space.trained})
    except KeyError as error:
        raise ValueError(f"{path} has no block {error}; it has {', '.join(data)}") from None
    except ValueError as error:
        raise ValueError(f"{path} does not fit the space: {error}") from None


@checked
def save_states(path: str | Path, times: Array, states: Array) -> Path:
    """Writes times (S,) and states (S, N, M).  raises OSError if the folder cannot be written."""
    return _write(path, "states", {"times": to_host(times), "states": to_host(states)}, {}, {})


@checked
def load_states(path: str | Path) -> tuple[Array, Array]:
    """(times, states) of a file.  raises FileNotFoundError; ValueError for a file that is damaged
    or not one.
    """
    data, _ = _read(path, "states")
    return data["times"], data["states"]


def _h5py() -> ModuleType:
    try:
        import h5py  # noqa: PLC0415 - optional: continuum itself needs only NumPy, SciPy and Numba
    except ImportError as error:
        raise ImportError("saving and loading needs h5py: pip install h5py") from error
    return h5py


def _write(
    path: str | Path,
    kind: str,
    arrays: Mapping[str, Array],
    attributes: Attributes,
    blocks: Mapping[str, Attributes],
) -> Path:
    path, attributes = Path(path), {_KIND: kind, _VERSION: _LATEST, **attributes}
    if path.suffix == ".npz":
        text = json.dumps({**attributes, "blocks": blocks})

        def fill(temporary: str) -> None:
            with open(temporary, "wb") as file:
                np.savez(file, allow_pickle=False, **{_TEXT: np.array(text)}, **arrays)
    else:
        h5py = _h5py()

        def fill(temporary: str) -> None:
            with h5py.File(temporary, "w") as file:
                file.attrs.update(attributes)
                for name, array in arrays.items():
                    file.create_dataset(name, data=array).attrs.update(blocks.get(name, {}))

    return write_whole(path, fill)


def write_whole(path: Path, fill: Callable[[str], None]) -> Path:
    """Fills a file of a temporary name in the same folder and gives it its own.

    raises ValueError for the path of a folder, OSError if the folder cannot be written
    """
    if not path.name or path.is_dir():
        raise ValueError(f"path must be that of a file, got {str(path)!r}")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    except OSError as error:
        raise OSError(f"path: cannot write in {path.parent}: {error.strerror}") from error
    os.close(handle)
    try:
        fill(temporary)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _read(path: str | Path, kind: str) -> tuple[dict[str, Array], Attributes]:
    path = Path(path)
    read = _read_npz if path.suffix == ".npz" else _read_hdf5
    data, attributes = read(path)
    if attributes.get(_KIND) != kind:
        raise ValueError(f"path: {path} is a file, but not a {kind} saved by this package")
    version = str(attributes.get(_VERSION, _LATEST))
    if not version.isdecimal() or int(version) > _LATEST:
        raise ValueError(
            f"path: {path} is of version {version} of the schema, this package reads up to "
            f"{_LATEST}: update continuum-networks"
        )
    return data, attributes


def _read_hdf5(path: Path) -> tuple[dict[str, Array], Attributes]:
    h5py = _h5py()
    if not path.is_file():
        raise FileNotFoundError(f"path: there is no file {path}")
    try:
        with h5py.File(path, "r") as file:
            return {name: np.asarray(x) for name, x in file.items()}, dict(file.attrs)
    except OSError as error:
        raise ValueError(
            f"path: {path} is damaged, cut short or not an HDF5 file: {error}"
        ) from None


def _read_npz(path: Path) -> tuple[dict[str, Array], Attributes]:
    if not path.is_file():
        raise FileNotFoundError(f"path: there is no file {path}")
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
        attributes = json.loads(str(data.pop(_TEXT, "{}")))
        return data, attributes if isinstance(attributes, dict) else {}
    except (OSError, EOFError, ValueError, AttributeError, BadZipFile) as error:
        raise ValueError(
            f"path: {path} is damaged, cut short or not an .npz file: {error}"
        ) from None
