"""Looking for words as people type them: the whole of it, each word, or what is nearest."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_SIMILAR = 0.72
"""How alike a word must be to stand for another one (1: the same), of `difflib`."""


def attempts(text: str, known: Callable[[], Collection[str]]) -> Iterator[list[str]]:
    """What to look for, one after the other, until something is found.

    Parameters
    ----------
    text : str
        As it was typed.
    known : callable
        Returns all words there are, lower case; asked only when the others fail.

    Yields
    ------
    list of str
        Lower-case parts that must all be there: the text as a whole, its words, and in
        place of each word the one most like it.
    """
    words = text.lower().split()
    if not words:
        return
    yield [" ".join(words)]
    yield words
    there = known()
    nearest = [get_close_matches(word, there, 1, _SIMILAR) for word in words]
    yield [found[0] if found else word for found, word in zip(nearest, words, strict=True)]


def find(text: str, texts: Mapping[int, str]) -> list[int]:
    """Keys of the texts that say `text`, or (nearly) all of its words."""
    lowered = {key: said.lower() for key, said in texts.items()}
    for wanted in attempts(
        text, lambda: {w for said in lowered.values() for w in said.split()}
    ):
        found = [key for key, said in lowered.items() if all(w in said for w in wanted)]
        if found:
            return found
    return []
