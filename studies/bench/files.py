"""Text files written in one step, so that none is ever half-written, and folders to write in."""

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .errors import StoreError

_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")


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


def check_file(path: Path) -> Path:
    """`path`, to which a file can be written; its folder is made if it is missing.

    raises StoreError if the folder cannot be made or written to, or `path` is itself a folder
    """
    check_writable(path.parent)
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a file")
    return path


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


def _flush(path: Path, flags: int) -> None:
    """Asks the operating system to have the file, or the folder's entries, on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
