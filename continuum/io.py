"""Controls and states in HDF5 files, which any HDF5 reader opens.

A file is written whole under a temporary name and then renamed, so a finished file is never
half-written. Needs h5py.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from .arrays import Array, to_host
from .controls import Control, ControlSpace
from .doors import checked

_KIND, _VERSION = "continuum_kind", "continuum_version"


@checked
def save_control(path: str | Path, control: Control) -> Path:
    """Writes the trained and fixed blocks of a control, with its mesh.

    One dataset per block, time first, with attributes "time" and "fixed"; the mesh is in attributes
    "horizon", "layers", "grading", and, where nodes were given, in a dataset "mesh.nodes".
    raises OSError if the folder cannot be written
    """
    space = control.space

    def fill(file) -> None:  # noqa: ANN001 - an h5py file, and h5py is optional
        file.attrs.update(
            horizon=space.mesh.horizon, layers=space.mesh.layers, grading=space.mesh.grading
        )
        if space.mesh.given:
            file.create_dataset("mesh.nodes", data=space.mesh.nodes)
        for block in space.blocks:
            dataset = file.create_dataset(block.name, data=to_host(control[block.name]))
            dataset.attrs.update(time=block.time, fixed=block.name in space.fixed)

    return _write(path, "control", fill)


@checked
def load_control(path: str | Path, space: ControlSpace) -> Control:
    """The control in a file, as a point of `space`.

    raises FileNotFoundError; ValueError for a file that is damaged, not a control, or does not fit
    the space
    """
    data, attributes = _read(path, "control")
    mesh = space.mesh
    for name in ("horizon", "layers", "grading"):
        if attributes[name] != getattr(mesh, name):
            raise ValueError(
                f"{path}: its {name} is {attributes[name]}, the space has {getattr(mesh, name)}"
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

    def fill(file) -> None:  # noqa: ANN001
        file.create_dataset("times", data=to_host(times))
        file.create_dataset("states", data=to_host(states))

    return _write(path, "states", fill)


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


def _write(path: str | Path, kind: str, fill: Callable[..., None]) -> Path:
    h5py, path = _h5py(), Path(path)
    if not path.name or path.is_dir():
        raise ValueError(f"path must be that of a file, got {str(path)!r}")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    except OSError as error:
        raise OSError(f"cannot write in {path.parent}: {error.strerror}") from error
    os.close(handle)
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs[_KIND], file.attrs[_VERSION] = kind, 1
            fill(file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _read(path: str | Path, kind: str) -> tuple[dict[str, Array], Mapping[str, float]]:
    h5py = _h5py()
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: there is no file {path}")
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            if attributes.get(_KIND) != kind:
                raise ValueError(
                    f"path: {path} is an HDF5 file, not a {kind} saved by this package"
                )
            data = {name: np.asarray(dataset) for name, dataset in file.items()}
    except OSError as error:
        raise ValueError(
            f"path: {path} is damaged, cut short or not an HDF5 file: {error}"
        ) from None
    return data, attributes
