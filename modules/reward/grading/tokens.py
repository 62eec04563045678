"""Splits an answer, in plain text or LaTeX, into tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .algebra import FUNCTIONS

MAX_LENGTH = 2000


class Unreadable(ValueError):
    """The text does not read as mathematics."""


@dataclass(frozen=True)
class Token:
    """`kind` is `number`, `name`, `command` or `symbol`; `spaced` says that space stands before."""

    kind: str
    text: str
    spaced: bool = False


_REPLACEMENTS = {
    "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "⋅": "*", "÷": "/", "∕": "/", "⁄": "/",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∞": r"\infty ", "π": r"\pi ", "±": r"\pm ",
    "∪": r"\cup ", "∈": r"\in ", "√": r"\sqrt ", "°": r"\degree ", "∅": r"\emptyset ",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "，": ",", "（": "(", "）": ")",
    "½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4", "⅕": " 1/5", "⅛": " 1/8",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "",
}  # fmt: skip
_TRANSLATION = str.maketrans(_REPLACEMENTS)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")

# Spacing, sizes and fonts, which change how an answer looks and not what it says.
_INVISIBLE = re.compile(
    r"(?<!\\)\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|quad|qquad|,|;|:|!|>| )"
    r"(?![a-zA-Z])|~|\$"
)
_MATRIX = re.compile(r"\\(begin|end)\s*\{[pbvBV]?matrix\}")
_FONTS = re.compile(r"\\(?:mathbf|mathrm|mathit|mathbb|boldsymbol|bm|operatorname)\s*(?=\{)")
_MIXED = re.compile(r"(?<![\d.,/^_}])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])")
_TOKEN = re.compile(
    r"""
    (?P<grouped>\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?(?![\d]))
  | (?P<number>(?:\d+(?:\{,\}\d{3})*\.?\d*|\.\d+)(?:[eE][+-]?\d+(?![\w.]))?)
  | (?P<command>\\(?:[a-zA-Z]+|[{}%|\\&#]))
  | (?P<name>[a-zA-Z]+)
  | (?P<symbol><=|>=|!=|==|\*\*|[-+*/^_=<>()\[\]{},;:|!%&'])
    """,
    re.VERBOSE,
)

# Runs of letters that mean something; other runs are products of one-letter variables.
_WORDS = FUNCTIONS | {
    "sqrt", "cbrt", "log", "ln", "lg", "exp", "abs", "pi", "inf", "infinity", "or", "and", "asin",
    "acos", "atan", "infty", "theta", "alpha", "beta", "gamma", "lambda", "phi", "frac",
}  # fmt: skip
MAX_PRODUCT = 3


def tokenize(text: str) -> list[Token]:
    """The tokens of a text; raises `Unreadable` where it holds anything else."""
    if len(text) > MAX_LENGTH:
        raise Unreadable("the text is too long")
    text = _prepare(text)
    tokens: list[Token] = []
    depth = 0
    position = 0
    spaced = False
    while position < len(text):
        if text[position].isspace():
            position += 1
            spaced = True
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            raise Unreadable(f"cannot read {text[position]!r}")
        kind = match.lastgroup or ""
        written = match.group()
        if kind == "grouped" and depth > 0 and "{,}" not in written:
            # Between brackets a comma separates: (1,234) is a point.
            written = written.partition(",")[0]
            match_end = position + len(written)
            kind = "number"
        else:
            match_end = match.end()
        if kind in ("grouped", "number"):
            tokens.append(Token("number", written.replace("{,}", "").replace(",", ""), spaced))
        elif kind == "name":
            tokens.extend(_names(written, spaced))
        else:
            depth += {"(": 1, "[": 1, r"\{": 1, ")": -1, "]": -1, r"\}": -1}.get(written, 0)
            tokens.append(Token(kind, written, spaced))
        position = match_end
        spaced = False
    return tokens


def _prepare(text: str) -> str:
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda run: "^{" + run[0].translate(_SUPERSCRIPTS) + "}", text)
    text = text.translate(_TRANSLATION)
    text = re.sub(r"(?<=\d)(?:\\,|\\!|,\\!)(?=\d{3}(?!\d))", "{,}", text)
    text = _INVISIBLE.sub(" ", text)
    text = _MATRIX.sub(r"\\\1 ", text)
    text = _FONTS.sub("", text)
    text = re.sub(r"\\(?:text|mbox|textbf)\s*\{\s*(or|and)\s*\}", r" \1 ", text)
    text = re.sub(r"\\(?:dfrac|tfrac|cfrac)(?![a-zA-Z])", r"\\frac", text)
    return _MIXED.sub(r"(\1+\2/\3)", text)


def _names(run: str, spaced: bool) -> list[Token]:
    """One token a word that means something, else one a letter."""
    if run in _WORDS or run.lower() in ("or", "and"):
        return [Token("name", run.lower() if run.lower() in ("or", "and") else run, spaced)]
    for word in sorted(_WORDS, key=len, reverse=True):
        # `xsin` is not a word, but `sinx` is what people write.
        if len(word) > 2 and run.startswith(word) and len(run) - len(word) <= 1:
            return [Token("name", word, spaced), Token("name", run[len(word) :], True)]
    if len(run) > MAX_PRODUCT:
        raise Unreadable(f"{run!r} is a word")
    first, *others = run
    return [Token("name", first, spaced), *(Token("name", letter) for letter in others)]
