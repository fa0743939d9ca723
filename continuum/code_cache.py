"""Machine code kept on disk between processes, where that is possible; compiled again where not.

Numba refuses to decorate a function if it finds no folder to write in, and raises whatever it meets
in a damaged file.  Neither should keep anybody from computing: it costs the compilation, and one
warning.
"""

import warnings
from collections.abc import Callable

from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

_warned: list[str] = []


class _Forgiving(FunctionCache):
    """Numba's cache of one function; a file that cannot be read or written counts as absent.

    Numba's own `load_overload` first registers all functions that it can compile, a quarter of a
    second in each process.  Code that is loaded needs none of them, only the symbols of Numba's
    runtime; and what is compiled registers them itself (numba.core.compiler.CompilerBase).
    """

    def load_overload(self, sig: object, target_context: object) -> object:
        try:
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)
        # a truncated file raises EOFError, UnpicklingError, ValueError, as its bytes happen to be
        except Exception as error:
            _warn(f"a file in {self.cache_path} is damaged ({type(error).__name__})")
        try:
            self.flush()  # the index names no file any more: all are written anew
        except OSError:
            self.disable()
        return None

    def save_overload(self, sig: object, data: object) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn(f"{self.cache_path} cannot be written to ({type(error).__name__})")
            self.disable()


def keep_on_disk(dispatcher: object, function: Callable[..., object]) -> None:
    """Lets a Numba dispatcher keep the code of its function on disk, if there is a place for it."""
    try:
        dispatcher._cache = _Forgiving(function)  # type: ignore[attr-defined]
    except (RuntimeError, OSError):
        _warn("no folder can be written to; NUMBA_CACHE_DIR can name one")


def _warn(reason: str) -> None:
    """One line, once in a process."""
    if not _warned:
        _warned.append(reason)
        message = f"compiled loops are compiled again in this process: {reason}"
        warnings.warn_explicit(message, RuntimeWarning, "continuum", 1)
