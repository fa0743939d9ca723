"""One HDF5 file per case, readable by xarray and by h5py; no finished file is ever half-written."""

import contextlib
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import h5netcdf
import h5py
import xarray as xr
from xarray.backends import H5NetCDFStore

from .parameters import Value

FORMAT = "continuum case 1"
DONE = "The case finished."
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")


class StoreError(ValueError):
    """A file or folder cannot be written, or is not what it should be; the message says which and
    why.
    """


@dataclass(frozen=True)
class CaseHeader:
    """What is known of a case before it runs, kept as attributes of its file.

    study : its name; parameters : all of them
    case_hash : of study, parameters and code; code_hash : of the code alone
    versions : of Python and the packages
    """

    study: str
    parameters: Mapping[str, Value]
    case_hash: str
    code_hash: str
    versions: Mapping[str, str]


def check_writable(folder: Path) -> Path:
    """`folder`, made if it is missing.  Raises StoreError if it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"the folder {folder} cannot be written to: {error.strerror or error}"
        ) from error
    return folder


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with a temporary path beside `path`, then moves that file to `path` in one
    step.

    Whatever happens, `path` holds its old content or all of the new.
    raises StoreError if the file system refuses
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if os.name == "posix":
            _flush(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(*folders: Path) -> None:
    """Removes the temporary files of `write_atomically` whose process was killed.

    Those of a process that lives are left, unless an hour old: process numbers are used again.
    """
    for folder in folders:
        for path in folder.glob(".*.tmp"):
            owner = _TEMPORARY.fullmatch(path.name)
            with contextlib.suppress(OSError):
                if owner and (
                    not _is_alive(int(owner[1])) or time.time() - path.stat().st_mtime > 3600.0
                ):
                    path.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step.  Raises StoreError if the file system refuses."""
    write_atomically(path, lambda temporary: _write_utf8(temporary, text))


def write_case(path: Path, dataset: xr.Dataset, header: CaseHeader, seconds: float) -> None:
    """Writes the answer of one case, with its header as attributes, in one step.

    The Dataset's own attribute "status", a sentence, is kept; without one the status is "The case
    finished."
    raises StoreError if the file system refuses, ValueError if an attribute of the Dataset has a
    name used here
    """
    attributes = {
        "format": FORMAT,
        "study": header.study,
        "parameters": json.dumps(dict(header.parameters), sort_keys=True),
        "case_hash": header.case_hash,
        "code_hash": header.code_hash,
        "versions": json.dumps(dict(header.versions)),
        "seconds": seconds,
        "created": now(),
    }
    taken = attributes.keys() & dataset.attrs.keys()
    if taken:
        raise ValueError(
            f"the Dataset's attributes {sorted(taken)} have names that the store uses; rename them"
        )
    complete = dataset.assign_attrs(**{"status": DONE, **dataset.attrs, **attributes})
    write_atomically(path, lambda temporary: _write_netcdf(temporary, complete))


def read_case(path: Path) -> xr.Dataset:
    """The Dataset of one case, in memory.

    raises StoreError, a ValueError, if the file is missing, cut short, not HDF5, or not written by
    `write_case`
    """
    read_header(path)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            return opened.load()
    except OSError as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def read_header(path: Path) -> CaseHeader:
    """What a case file says of itself, without its arrays.  Raises StoreError as `read_case`
    does.
    """
    if not path.is_file():
        raise StoreError(f"there is no file {path}")
    if not h5py.is_hdf5(path):
        raise StoreError(f"{path} is not an HDF5 file (or was cut short)")
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
    except OSError as error:
        raise StoreError(f"{path} is a damaged HDF5 file, perhaps cut short: {error}") from error
    if attributes.get("format") != FORMAT:
        raise StoreError(
            f"{path} is an HDF5 file, but not one of a continuum study: its attribute 'format' is "
            f"{attributes.get('format', 'missing')!r}, expected {FORMAT!r}"
        )
    try:
        return CaseHeader(
            str(attributes["study"]),
            json.loads(str(attributes["parameters"])),
            str(attributes["case_hash"]),
            str(attributes["code_hash"]),
            json.loads(str(attributes["versions"])),
        )
    except (KeyError, json.JSONDecodeError) as error:
        raise StoreError(f"{path} lacks a valid attribute of a continuum case: {error}") from error


def case_parameters(case: xr.Dataset) -> dict[str, Value]:
    """All parameters of a case that `read_case` gave."""
    return json.loads(case.attrs["parameters"])


def read_json(path: Path) -> dict[str, object]:
    """The mapping in a JSON file.  Raises StoreError if it is missing or not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is not a question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _write_utf8(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_netcdf(path: Path, dataset: xr.Dataset) -> None:
    """Through memory: a disk that is full when h5netcdf closes its file ends the whole process, not
    only the write.
    """
    image = io.BytesIO()
    with h5netcdf.File(image, "w") as file:
        dataset.dump_to_store(H5NetCDFStore(file))
    path.write_bytes(image.getbuffer())


def _flush(path: Path, flags: int) -> None:
    """Asks the operating system to have the file, or the folder's entries, on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
