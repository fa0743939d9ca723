"""One checksum of all that an HDF5 file says: what was written is what is read, or it is told."""

import hashlib
from collections.abc import Iterator

import h5py
import numpy as np

from .errors import StoreError

DIGEST = "sha256"
"""The attribute of the file's root that holds the checksum; it does not count itself."""


def content_digest(file: h5py.File) -> str:
    """SHA-256 over names, shapes, types, dimensions and bytes of all datasets and all attributes.

    Where in the file they lie does not count, nor their order.
    raises StoreError for what no case file holds: a group, a link, to another file or inside this
        one, and a dataset whose data lie in other files
    """
    digest = hashlib.sha256()
    for part in _file(file):
        content = memoryview(part)
        digest.update(content.nbytes.to_bytes(8, "little"))  # ["a", "bc"] is not ["ab", "c"]
        digest.update(content)
    return digest.hexdigest()


def _file(file: h5py.File) -> Iterator[bytes | memoryview]:
    yield from _attributes(file["/"], apart=DIGEST)
    for name in sorted(file):
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            where = f" to {link.filename}" if isinstance(link, h5py.ExternalLink) else ""
            raise StoreError(f"{name!r} in it is a link{where}, and links are not followed")
        dataset = file[name]
        if isinstance(dataset, h5py.Datatype):  # that of complex numbers has a name
            yield f"type {name} {_type(dataset.dtype)}".encode()
            yield from _attributes(dataset)
            continue
        if not isinstance(dataset, h5py.Dataset):
            raise StoreError(f"{name!r} in it is a group")
        if dataset.is_virtual or dataset.external:
            raise StoreError(f"the data of {name!r} lie in other files, which are not read")
        yield f"dataset {name} {dataset.shape} {_type(dataset.dtype)}".encode()
        yield from _value(dataset[()], file)
        yield from _attributes(dataset)


def _attributes(item: h5py.HLObject, apart: str = "") -> Iterator[bytes | memoryview]:
    for name in sorted(item.attrs):
        if name == apart:
            continue
        value = item.attrs[name]
        kind = type(value).__name__
        if isinstance(value, np.ndarray | np.generic):
            kind = f"{value.shape} {_type(value.dtype)}"
        yield f"attribute {name} {kind}".encode()
        yield from _value(value, item.file)


def _type(dtype: np.dtype) -> str:
    """A type in words: order and number of bytes, encoding of a text, names of an enum."""
    text = h5py.check_string_dtype(dtype)
    if text is not None:
        return f"text {text.encoding} {text.length}"
    if dtype.names is not None:
        return " ".join(f"{name}:{_type(dtype[name])}" for name in dtype.names)
    return f"{dtype.str} {h5py.check_enum_dtype(dtype)} {h5py.check_ref_dtype(dtype)}"


def _value(value: object, file: h5py.File) -> Iterator[bytes | memoryview]:
    """The bytes of a value; for a reference (to a dimension), the name of what it refers to."""
    if isinstance(value, h5py.Reference):
        yield str(file[value].name).encode() if value else b""
    elif isinstance(value, np.ndarray | np.void) and value.dtype.hasobject:
        yield from _value(value.tolist(), file)
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for one in value:
            yield from _value(one, file)
    elif isinstance(value, str):
        yield value.encode("utf-8", "surrogateescape")
    elif isinstance(value, h5py.Empty):
        yield str(value.dtype).encode()
    else:
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
