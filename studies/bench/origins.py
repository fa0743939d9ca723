"""Where a study comes from: a name, a file or module of the user's own, or an installed package.

"paper/question"                 one that is registered, or that an entry point of the group
                                 "continuum.studies" of an installed package leads to
"my_study.py"                    the study of a file, which is imported; "my_study.py:question"
                                 if there are several
"my_package.my_study:question"   one of a module, looked for in the current folder, too

A file is imported under its own name, from its own folder (that of its topmost package), which is
put on Python's path; so processes that are started later find it again.
"""

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

from continuum.checks import check_name

from .registry import FAILED, Study, describe, entries, find_study, forget, registered
from .sources import is_installed, module_of

GROUP = "continuum.studies"

_FILE = re.compile(r"(.+\.py)(?::([\w/]+))?")
_MODULE = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(?::([\w/]+))?")
_OWN = Path(__file__).parents[1]


def find(where: str) -> Study:
    """The study that these words mean, in one of the three ways above.

    raises ValueError if there is no such study, file or module, if the file or module cannot be
        imported, and if it registers no study or several and none is chosen
    """
    split = _split(where)
    if split is None:
        if where not in {entry.name for entry in entries("study")}:
            load_entry_points()
        return find_study(where)
    source, choice = split
    found = _registered_by(source)
    if choice:
        named = [s for s in found if choice in (s.name, s.name.partition("/")[2])]
        if not named:
            check_name(f"study of {source},", choice, [study.name for study in found])
        found = named
    if len(found) > 1:
        others = " or ".join(f"{source}:{name}" for name in _choices(found))
        raise ValueError(f"{source} registers {len(found)} studies; say which: {others}")
    return found[0]


def is_name(where: str) -> bool:
    """True for words that are no file and no module, but the name of a study or a paper."""
    return _split(where) is None


def studies_of(where: str) -> list[str]:
    """The names of the studies that a file or a module registers.  Raises ValueError as `find`."""
    split = _split(where)
    if split is None:
        raise ValueError(f"where must be a file or a module, got {where!r}")
    source, choice = split
    return [find(where).name] if choice else [study.name for study in _registered_by(source)]


def load_entry_points() -> None:
    """Imports what installed packages declare under the group "continuum.studies".

    An entry point is a module, or a function in it; all studies that its module registers are
    known then, by their names.  One that raises is noted in FAILED.
    """
    for point in metadata.entry_points(group=GROUP):
        try:
            point.load()
        # somebody else's package may do anything at its import
        except (Exception, SystemExit) as error:
            FAILED[point.value] = describe(error)


def origin(study: Study) -> str:
    """The words by which `find` finds this study in any process, from any folder."""
    place = _place(study)
    return f"{place}:{study.name}" if place else study.name


def typed(study: Study) -> str:
    """The words by which a command in the current folder finds this study, as short as can be."""
    place = _place(study)
    if not place:
        return study.name
    shown = place
    if place.endswith(".py") and Path(place).is_relative_to(Path.cwd()):
        shown = str(Path(place).relative_to(Path.cwd()))
    beside = [other for other in registered() if _place(other) == place]
    if len(beside) < 2 and place.endswith(".py"):
        return shown
    return f"{shown}:{dict(zip(beside, _choices(beside), strict=True)).get(study, study.name)}"


def of_sweep(plan: Mapping[str, object]) -> Study:
    """The study of a sweep.json: the one that is registered, or found where it was then.

    raises ValueError if it is there no more
    """
    name = str(plan["study"])
    if name in {entry.name for entry in entries("study")}:
        return find_study(name)
    try:
        study = find(str(plan.get("origin", name)))
    except ValueError as error:
        raise ValueError(
            f"the study {name!r} of this sweep is not found: {error} (if it is in another file "
            f'now: --study FILE.py on the command line, find_study("FILE.py") in a script)'
        ) from error
    if study.name != name:
        raise ValueError(f"the sweep is of the study {name!r}, but {study.name!r} was found")
    return study


def _split(where: str) -> tuple[str, str] | None:
    """The file or module, and what stands after the colon; None for the name of a study."""
    if match := _FILE.fullmatch(where):
        return match[1], match[2] or ""
    if ("." in where or ":" in where) and (match := _MODULE.fullmatch(where)):
        return match[1], match[2] or ""
    return None


def _registered_by(source: str) -> list[Study]:
    """The studies of a file or module, which is imported: those defined in it or below it, or, if
    there are none, those that became known by the import.
    """
    before = set(registered())
    module = _import_file(Path(source)) if source.endswith(".py") else _import_module(source)
    names = (module.__name__, f"{module.__name__}.")
    own = [s for s in registered() if _module(s) == names[0] or _module(s).startswith(names[1])]
    found = own or [s for s in registered() if s not in before]
    if not found:
        raise ValueError(
            f'{source} registers no study: it needs a function under @study("paper/question", '
            f"paper=...)"
        )
    return found


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    full = path.resolve()
    main = sys.modules["__main__"]
    if _is_file_of(main, full):
        return main
    name, folder = module_of(full)
    if not all(part.isidentifier() or "-" in part for part in name.split(".")) or "." in path.stem:
        raise ValueError(f"{path} has a name that Python cannot import; rename it")
    loaded = sys.modules.get(name)
    if loaded is None:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        loaded = _imported(lambda: importlib.import_module(name), path)
    if not _is_file_of(loaded, full):
        raise ValueError(
            f"{path} has the name of another module, "
            f"{getattr(loaded, '__file__', None) or 'built into Python'}; rename it"
        )
    return loaded


def _import_module(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return _imported(lambda: importlib.import_module(name), name)
    except ValueError as error:
        missing = getattr(error.__cause__, "name", None)
        if isinstance(error.__cause__, ModuleNotFoundError) and f"{name}.".startswith(
            f"{missing}."
        ):
            raise ValueError(
                f"there is no module {name} (looked for in {here}, and where Python looks)"
            ) from None
        raise


def _imported(load: Callable[[], ModuleType], shown: Path | str) -> ModuleType:
    """What `load` returns.  Raises ValueError, in one sentence with the line, if it raises; the
    studies registered until then are forgotten.
    """
    before = {study.name for study in registered()}
    try:
        return load()
    # whatever a file of the user's does at its import, SystemExit of a script included
    except (Exception, SystemExit) as error:
        forget({study.name for study in registered()} - before)
        raise ValueError(
            f"{shown} could not be imported: {describe(error)}{_line(error)}"
        ) from error


def _line(error: BaseException) -> str:
    """Where it happened: the last line of a file that is not installed."""
    if isinstance(error, SyntaxError):  # it says so itself
        return ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not is_installed(file) and not file.is_relative_to(_OWN):
            return f" ({file.name}, line {frame.lineno})"
    return ""


def _choices(found: Sequence[Study]) -> list[str]:
    """What is written after the colon to choose each: the question, or the whole name where two
    papers ask the same.
    """
    questions = [study.name.partition("/")[2] for study in found]
    return [
        study.name if questions.count(question) > 1 else question
        for study, question in zip(found, questions, strict=True)
    ]


def _place(study: Study) -> str:
    """The file or module that registers the study; "" for one that is found by its name."""
    module = _module(study)
    if module.partition(".")[0] == _OWN.name:
        return ""
    for point in metadata.entry_points(group=GROUP):
        if f"{module}.".startswith(f"{point.module}."):
            return ""
    source = inspect.getsourcefile(inspect.unwrap(study.function))
    if source is None or not os.path.isfile(source):
        return ""
    file = Path(source).resolve()
    return module if is_installed(file) and module != "__main__" else str(file)


def _module(study: Study) -> str:
    return inspect.unwrap(study.function).__module__


def _is_file_of(module: ModuleType, file: Path) -> bool:
    found = getattr(module, "__file__", None)
    return found is not None and Path(found).resolve() == file
