"""A column of texts that is searched and sorted without looking at each of them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A column of texts, with what searching and sorting need of it."""

    shown: tuple[str, ...]
    distinct: tuple[str, ...]
    """In lower case, in alphabetical order."""
    place: npt.NDArray[np.int64]
    """Of each text in `distinct`."""
    rank: npt.NDArray[np.int64]
    """Place in alphabetical order; equal texts share one, the empty text is 0."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Prepare a column."""
        shown = tuple(texts)
        lower = np.char.lower(np.array(shown, dtype=str))
        distinct, place = np.unique(lower, return_inverse=True)
        return cls._placed(shown, distinct.tolist(), place)

    def changed(self, rows: Sequence[int], texts: Sequence[str]) -> Texts:
        """Return the column with other texts in some rows; the others are not touched."""
        if not texts:
            return self
        shown = list(self.shown)
        for row, text in zip(rows, texts, strict=True):
            shown[row] = text
        lower = [text.lower() for text in texts]
        distinct = sorted({*self.distinct, *lower})
        where = {text: index for index, text in enumerate(distinct)}
        moved = np.array([where[text] for text in self.distinct], np.int64)
        place = moved[self.place] if len(moved) else np.zeros(len(shown), np.int64)
        place[rows] = [where[text] for text in lower]
        return Texts._placed(shown, distinct, place)

    @classmethod
    def _placed(
        cls, shown: Sequence[str], distinct: Sequence[str], place: npt.NDArray[np.int64]
    ) -> Texts:
        rank = place + (0 if distinct and distinct[0] == "" else 1)
        return cls(tuple(shown), tuple(distinct), place, rank)

    def words(self) -> set[str]:
        """All words in it, in lower case."""
        used = np.flatnonzero(np.bincount(self.place, minlength=len(self.distinct)))
        return {word for i in used.tolist() for word in self.distinct[i].split()}

    def contains(self, word: str) -> npt.NDArray[np.bool_]:
        """Whether each text contains a word; equal texts are looked at once."""
        hits = np.array([word in text for text in self.distinct], bool)
        return hits[self.place]
