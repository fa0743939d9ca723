"""Files written in one step, so that none is ever half-written; damaged ones set aside; folders to
write in.
"""

import contextlib
import hashlib
import itertools
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from .errors import StoreError

DAMAGED = "damaged"
"""The folder, beside the files of a sweep, for those that could not be read."""

_TEMPORARY = re.compile(r"\..+\.([^.]+)\.(\d+)\.tmp")
_CHECKSUM = "sha256"


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
    temporary = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.tmp")
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

    Those of a process that lives, or of another machine that shares the folder, are left, unless an
    hour old: process numbers are used again.
    """
    for folder in folders:
        for path in folder.glob(".*.tmp"):
            owner = _TEMPORARY.fullmatch(path.name)
            with contextlib.suppress(OSError):
                if owner and (
                    (owner[1] == _host() and not _is_alive(int(owner[2])))
                    or time.time() - path.stat().st_mtime > 3600.0
                ):
                    path.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file in one step.  Raises StoreError if the file system refuses."""
    write_atomically(path, lambda temporary: _write(temporary, content))


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step.  Raises StoreError if the file system refuses."""
    write_bytes(path, text.encode())


def write_record(path: Path, content: Mapping[str, object]) -> None:
    """Writes a JSON object, with a checksum of itself, in one step.

    raises StoreError if the file system refuses
    """
    write_text(path, json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=1))


def read_record(path: Path) -> dict[str, object]:
    """What `write_record` wrote.

    raises StoreError if the file is missing, a link out of its folder, or not what was written
    """
    check_inside(path.parent, path)
    content = read_json(path)
    if _CHECKSUM not in content:
        raise StoreError(f"{path} has no checksum: it is damaged, or of an older version")
    if content.pop(_CHECKSUM) != _checksum(content):
        raise StoreError(f"{path} is damaged: its content is not what its checksum was taken of")
    return content


def set_aside(folder: Path, path: Path, reason: str) -> bool:
    """Moves a damaged file into `folder`/damaged, with a text beside it that says why.

    returns False if there is no such file any more
    raises StoreError if the file system refuses
    """
    aside = check_writable(folder / DAMAGED)
    check_inside(folder, aside)
    names = itertools.chain([path.name], (f"{path.name}.{n}" for n in itertools.count(2)))
    name = next(name for name in names if not os.path.lexists(aside / name))
    try:
        path.rename(aside / name)
    except FileNotFoundError:  # another sweep in the same folder was faster
        return False
    except OSError as error:
        raise StoreError(f"{path} could not be set aside: {error.strerror or error}") from error
    write_text(aside / f"{name}.txt", f"{now()}: set aside from {path.parent.name}: {reason}\n")
    return True


def damaged_files(folder: Path) -> list[str]:
    """The names of the files of `folder` that were set aside."""
    return sorted(path.name[: -len(".txt")] for path in (folder / DAMAGED).glob("*.txt"))


def check_inside(folder: Path, path: Path) -> None:
    """Raises StoreError if `path` is a symbolic link to something that is not in `folder`."""
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(
            f"{path} is a link that leads out of the folder, to {os.readlink(path)}: it is not "
            f"followed"
        )


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _checksum(content: Mapping[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _host() -> str:
    """This machine's name, as a part of a file's name."""
    return re.sub(r"[^\w-]", "-", platform.node()) or "localhost"


def _flush(path: Path, flags: int) -> None:
    """Asks the operating system to have the file, or the folder's entries, on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
