"""Formulas of docstrings, written in plain letters, as HTML: f_t, |u|^2 and int_0^T become MathML,
<=, -> and the like the signs they stand for; what stands in backticks is code.
"""

import html
import re
from collections.abc import Collection

_GREEK = {
    name: chr(code)
    for name, code in {
        "alpha": 0x3B1, "beta": 0x3B2, "gamma": 0x3B3, "delta": 0x3B4, "eps": 0x3B5,
        "epsilon": 0x3B5, "kappa": 0x3BA, "lambda": 0x3BB, "mu": 0x3BC, "nu": 0x3BD, "pi": 0x3C0,
        "rho": 0x3C1, "sigma": 0x3C3, "tau": 0x3C4, "theta": 0x3B8, "phi": 0x3C6, "psi": 0x3C8,
        "omega": 0x3C9, "Sigma": 0x3A3, "Phi": 0x3A6,
    }.items()
}  # fmt: skip

_LARGE = {"int": "∫", "sum": "∑"}

_SIGNS = {"<=": "≤", ">=": "≥", "!=": "≠", "|->": "↦", "->": "→", "+-": "±"}

_BASE = "|".join(sorted((*_GREEK, *_LARGE, "max", "min"), key=len, reverse=True))
_SCRIPT = r"(?:-?[A-Za-z0-9]{1,3}(?![A-Za-z0-9_])|\([^()\n]{1,40}\)|\*)"
_SCRIPTED = re.compile(
    rf"`(?P<code>[^`\n]+)`"
    rf"|(?<![A-Za-z0-9_^])(?P<base>{_BASE}|[A-Za-z])(?P<scripts>(?:[_^]{_SCRIPT})+)"
    rf"|(?P<close>[)|\]])\^(?P<power>{_SCRIPT})"
    rf"|(?<![A-Za-z0-9_.^])(?<![A-Za-z0-9]-)(?P<word>{_BASE})(?![A-Za-z0-9_.-])"
    rf"|(?P<sign>{'|'.join(map(re.escape, _SIGNS))})"
)
_TOKEN = re.compile(r"([A-Za-z]+|\d+(?:\.\d+)?|\S)(?:_([A-Za-z0-9]))?")


def with_formulas(text: str, names: Collection[str] = ()) -> str:
    """A text as HTML, with its formulas.

    A symbol is a letter, a Greek letter by name, int or sum; scripts are at most three letters or
    digits, or anything in parentheses: names of several words, such as depth_error, stay as they
    are.
    names : words that are no symbols here, such as parameters
    """
    parts, end = [], 0
    for found in _SCRIPTED.finditer(text):
        shown = _shown(found, names)
        if shown:
            parts += [html.escape(text[end : found.start()]), shown]
            end = found.end()
    return "".join([*parts, html.escape(text[end:])])


def _shown(found: re.Match[str], names: Collection[str]) -> str:
    """The HTML of one match; empty if it stays as it is."""
    if found["code"]:
        return f"<code>{html.escape(found['code'])}</code>"
    if found["sign"]:
        return _SIGNS[found["sign"]]
    if found["word"]:
        word = found["word"]
        return "" if word in names else {**_GREEK, "int": "∫"}.get(word, "")
    if found["close"]:
        base = f'<mo stretchy="false">{html.escape(found["close"])}</mo>'
        return f"<math><msup>{base}{_row(found['power'])}</msup></math>"
    scripts: dict[str, str] = {}
    for kind, script in re.findall(rf"([_^])({_SCRIPT})", found["scripts"]):
        if kind in scripts:
            return ""
        scripts[kind] = _row(script)
    base = _atom(found["base"])
    if len(scripts) == 2:
        return f"<math><msubsup>{base}{scripts['_']}{scripts['^']}</msubsup></math>"
    tag = "msub" if "_" in scripts else "msup"
    return f"<math><{tag}>{base}{''.join(scripts.values())}</{tag}></math>"


def _row(script: str) -> str:
    """A script as one element of MathML, without the parentheses around it."""
    inner = script[1:-1] if script.startswith("(") else script
    atoms = [
        f"<msub>{_atom(token)}{_atom(below)}</msub>" if below else _atom(token)
        for token, below in _TOKEN.findall(inner)
    ]
    return atoms[0] if len(atoms) == 1 else f"<mrow>{''.join(atoms)}</mrow>"


def _atom(token: str) -> str:
    if token in _LARGE:
        return f"<mo>{_LARGE[token]}</mo>"
    if token in _GREEK or token.isalpha():
        return f"<mi>{_GREEK.get(token, token)}</mi>"
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    return f"<mo>{'−' if token == '-' else html.escape(token)}</mo>"
