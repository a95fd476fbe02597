"""What can be said of one concept, and how text is cleaned before it is kept."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

MAX_LENGTH = 80
"""Of a name or a tag, in characters."""

MAX_NOTE = 4000


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is said about one concept.

    Attributes
    ----------
    name : str
        The user's, else the SAE's own.
    tags : tuple of str
        Words of `core.vocabulary`, or others.
    note : str
        Free text, lines kept.
    star : bool
    """

    name: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    star: bool = False


def clean_line(text: str) -> str:
    """Printable text of one line, in one form of Unicode."""
    return "".join(
        " " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter
        for letter in unicodedata.normalize("NFC", text)
        if unicodedata.category(letter) not in ("Cf", "Cs")
    )


def clean_name(name: str) -> str:
    """One line of printable text, at most `MAX_LENGTH` characters."""
    return " ".join(clean_line(name).split())[:MAX_LENGTH].rstrip()


def clean_label(label: str) -> str:
    """Tags with ``; `` between them, each cleaned and once, in alphabetical order."""
    return "; ".join(sorted({tag for tag in map(clean_name, label.split(";")) if tag}))
