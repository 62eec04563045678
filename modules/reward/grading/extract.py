"""Finds the final answer in what a model said."""

from __future__ import annotations

import re

# Only this much of the end of a completion is searched: an answer stands there.
MAX_SEARCHED = 200_000
MAX_ANSWER = 2000
MAX_BOXES = 16

_THOUGHT_END = "</think>"
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_MARKER = re.compile(r"####[ \t]*([^\n]*)")
_PHRASE = re.compile(
    r"\banswer\b\s*(?:is\b|=|:)\s*(?:(?:therefore|thus|simply|equal\s+to)\b)?\s*:?\s*", re.IGNORECASE
)
_NUMBER = re.compile(
    r"""
    (?<![\w.\\])
    (?:-\s?)?\\?\$?
    (?:
        \\[dt]?frac\s*\{[^{}]+\}\s*\{[^{}]+\}
      | \d+\s+\d+\s*/\s*\d+
      | (?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?(?:\s*/\s*\d+(?:\.\d+)?)?
      | \.\d+
    )
    (?:\s?\\?%)?
    """,
    re.VERBOSE,
)
_FORMULA = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_MATHEMATICAL = re.compile(r"\d|\\|^\(?[A-J]\)?$")
# Where the answer of a phrase ends and the sentence goes on.
_SENTENCE_END = re.compile(r"(?<=[\w)}\]%$])[.;!](?=\s|$)|\.$|,?\s+(?:because|since|so|which|as)\b")


def spoken(completion: str, prompt: str = "") -> str:
    """What a completion says to its reader: not the prompt again, and not the thinking.

    A chain of thought that never ends leaves nothing.
    """
    if prompt and completion.startswith(prompt):
        completion = completion[len(prompt) :]
    _, end, after = completion.rpartition(_THOUGHT_END)
    if end:
        return after
    return completion.partition("<think>")[0]


def extract(text: str, *, boxed_only: bool = False) -> str | None:
    """The final answer in a text, as it is written there."""
    text = text[-MAX_SEARCHED:]
    answer = _boxed(text)
    if answer is None and not boxed_only:
        answer = _marked(text) or _phrased(text) or _last_number(text)
    if answer is None:
        return None
    answer = answer.strip()
    return answer if answer and len(answer) <= MAX_ANSWER else None


def reference_answer(reference: str) -> str | None:
    """The answer in a reference: marked as in a completion, else the whole text."""
    return extract(reference, boxed_only=True) or _marked(reference) or reference.strip() or None


def _boxed(text: str) -> str | None:
    """The content of the last box that is closed, among the last few."""
    for match in reversed(list(_BOX.finditer(text))[-MAX_BOXES:]):
        rest = text[match.end() : match.end() + MAX_ANSWER + 2]
        if rest.startswith("{"):
            end = _closing(rest)
            if end is not None:
                return rest[1:end]
        elif (bare := re.match(r"[-\w.]+", rest)) is not None:
            return bare[0].rstrip(".")
    return None


def _closing(text: str) -> int | None:
    """Where the brace that opens a text is closed."""
    depth = 0
    escaped = False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return index
    return None


def _marked(text: str) -> str | None:
    found = [match[1].strip() for match in _MARKER.finditer(text)]
    return found[-1] or None if found else None


def _phrased(text: str) -> str | None:
    """What follows "answer is" or "answer:": the last that looks like mathematics, else the last."""
    answers = []
    for match in _PHRASE.finditer(text):
        line = text[match.end() : match.end() + MAX_ANSWER].partition("\n")[0]
        if (answer := _first_phrase(line)) is not None:
            answers.append(answer)
    # "The answer is 12. I am sure that this answer is correct."
    mathematical = [answer for answer in answers if _MATHEMATICAL.search(answer)]
    return next(reversed(mathematical or answers), None)


def _first_phrase(line: str) -> str | None:
    """The formula that a line begins with, else its words to the end of the sentence."""
    line = line.strip().strip("*").strip()
    if (formula := _FORMULA.match(line)) is not None:
        return next(filter(None, formula.groups()))
    return _SENTENCE_END.split(line, maxsplit=1)[0].strip().strip("*").strip() or None


def _last_number(text: str) -> str | None:
    matches = _NUMBER.findall(text)
    return matches[-1].strip() if matches else None
