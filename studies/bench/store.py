"""One HDF5 file per case, readable by xarray and by h5py; no finished file is ever half-written."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import h5netcdf
import h5py
import xarray as xr
from xarray.backends import H5NetCDFStore

from continuum.doors import checked

from .errors import StoreError
from .files import write_atomically
from .parameters import Value

FORMAT = "continuum case 1"
DONE = "The case finished."


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


@checked
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


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_netcdf(path: Path, dataset: xr.Dataset) -> None:
    """Through memory: a disk that is full when h5netcdf closes its file ends the whole process, not
    only the write.
    """
    image = io.BytesIO()
    with h5netcdf.File(image, "w") as file:
        dataset.dump_to_store(H5NetCDFStore(file))
    path.write_bytes(image.getbuffer())
