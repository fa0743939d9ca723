"""docs/api.md lists every public name, with what its docstring says now."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_is_what_the_docstrings_say():
    made = runpy.run_path(str(DOCS / "make_api.py"))["page"]()
    empty = [line for line in made.splitlines() if line.startswith("- ") and line.endswith(": ")]
    assert not empty
    assert (DOCS / "api.md").read_text() == made, "run python docs/make_api.py"
