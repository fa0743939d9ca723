"""One HDF5 file per case, readable by xarray and by h5py; no finished file is ever half-written."""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5netcdf
import h5py
import xarray as xr
from xarray.backends import H5NetCDFStore

from continuum.doors import checked

from .errors import StoreError
from .files import check_inside, now, write_bytes
from .parameters import Value

FORMAT = "continuum case 2"
DONE = "The case finished."
_SEAL = b"\nSHA-256 "


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
    write_bytes(path, case_image(dataset, header, seconds))


def case_image(dataset: xr.Dataset, header: CaseHeader, seconds: float) -> bytes:
    """The bytes of the file that `write_case` writes.

    They are made in memory: a disk that is full when HDF5 closes its file ends the whole process,
    not only the write.  Their checksum follows them (`sealed`).
    raises ValueError if an attribute of the Dataset has a name used here
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
    image = io.BytesIO()
    with h5netcdf.File(image, "w") as file:
        complete.dump_to_store(H5NetCDFStore(file))
    return sealed(image.getvalue())


def sealed(content: bytes) -> bytes:
    """The content of a file, and after it the SHA-256 of these bytes, which HDF5 does not look at.

    One checksum for all names, shapes, types, numbers and attributes.  It is looked at before HDF5
    sees the file: one with a wrong address in it may be searched without end.
    """
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


@checked
def read_case(path: str | Path) -> xr.Dataset:
    """The Dataset of one case, in memory.

    raises StoreError, a ValueError, if the file is missing, cut short, not HDF5, or not written by
    `write_case`; if a byte of it is not what was written, by the file's checksum; if it was written
    by an older version; and if it is a link that leads out of its folder
    """
    path = Path(path)
    with (
        _opened(path) as file,
        h5netcdf.File(file, "r", decode_vlen_strings=True) as netcdf,
    ):
        _header(path, file)
        return xr.open_dataset(H5NetCDFStore(netcdf)).load()


def read_header(path: Path) -> CaseHeader:
    """What a case file says of itself, all of its bytes checked.  Raises StoreError as `read_case`
    does.
    """
    with _opened(path) as file:
        return _header(path, file)


def case_parameters(case: xr.Dataset) -> dict[str, Value]:
    """All parameters of a case that `read_case` gave."""
    if "parameters" not in getattr(case, "attrs", {}):
        raise TypeError(f"case must be a Dataset that read_case gave, got {type(case).__name__}")
    return json.loads(case.attrs["parameters"])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, which is one of a case by its format; what HDF5 raises inside is StoreError."""
    if not path.is_file():
        raise StoreError(f"there is no file {path}")
    check_inside(path.parent, path)
    if not h5py.is_hdf5(path):
        raise StoreError(f"{path} is not an HDF5 file (or was cut short)")
    try:
        content = path.read_bytes()
        if sealed(content.rpartition(_SEAL)[0]) != content:
            raise StoreError(
                f"{path} is damaged, cut short, or of another version: its bytes are not what its "
                f"checksum was taken of; run its case again"
            )
        del content
        with h5py.File(path, "r") as file:
            written = file.attrs.get("format", "missing")
            if written != FORMAT and str(written).startswith("continuum case "):
                raise StoreError(
                    f"{path} was written by another version ({written!r}, this one reads "
                    f"{FORMAT!r}): run its case again"
                )
            if written != FORMAT:
                raise StoreError(
                    f"{path} is an HDF5 file, but not one of a continuum study: its attribute "
                    f"'format' is {written!r}, expected {FORMAT!r}"
                )
            yield file
    except StoreError:
        raise
    # a flipped bit is a wrong length, name or address somewhere: HDF5 and h5py raise anything
    except Exception as error:
        raise StoreError(f"{path} is a damaged HDF5 file, perhaps cut short: {error}") from error


def _header(path: Path, file: h5py.File) -> CaseHeader:
    attributes = dict(file.attrs)
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
