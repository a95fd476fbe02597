"""The rows of the table of concepts, as arrays: prepared off the GUI thread, no Qt.

Sorting and searching 49,152 rows only makes another array of row numbers; texts are
lowered, shortened and ordered once, when the rows are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

NUMBERS = ("here", "prevalence", "specificity")
KEEP: dict[str, tuple[str, tuple[str, ...]]] = {
    "all": ("all concepts", ()),
    "background": ("no background", ("background",)),
    "always": ("no always-on", ("always-on",)),
    "both": ("neither", ("background", "always-on")),
}
"""Optional filters and the flags they leave out; nothing is left out unless asked for."""

_PLACES = {"nucleus": "nuc", "cytoplasm": "cyt", "outside": "out"}


@dataclass(frozen=True, slots=True, eq=False)
class _Texts:
    """A column of texts, with what searching and sorting need of it."""

    shown: tuple[str, ...]
    lower: npt.NDArray[np.str_]
    rank: npt.NDArray[np.int64]
    """Place in alphabetical order; equal texts share one, the empty text is 0."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Texts:
        shown = tuple(texts)
        lower = np.char.lower(np.array(shown, dtype=str))
        present = np.flatnonzero(lower != "")
        rank = np.zeros(len(shown), np.int64)
        rank[present] = 1 + np.unique(lower[present], return_inverse=True)[1]
        return cls(shown, lower, rank)


@dataclass(frozen=True, slots=True, eq=False)
class ConceptRows:
    """One ranking, ready to be shown, sorted and searched.

    Attributes
    ----------
    concept : ndarray of int64, (n,)
    ids : ndarray of str, (n,)
        `concept` as text.
    numbers : dict of str to ndarray of float64, (n,)
        By the keys of `NUMBERS`; NaN where unknown.
    name, where : _Texts
    flags : tuple of str
    left_out : dict of str to ndarray of bool, (n,)
        By the keys of `KEEP`.
    """

    concept: npt.NDArray[np.int64]
    ids: npt.NDArray[np.str_]
    numbers: Mapping[str, npt.NDArray[np.float64]]
    name: _Texts
    where: _Texts
    flags: tuple[str, ...]
    left_out: Mapping[str, npt.NDArray[np.bool_]]

    @classmethod
    def empty(cls) -> ConceptRows:
        """No concepts."""
        none = np.empty(0)
        texts = _Texts.of(())
        return cls(
            none.astype(np.int64),
            none.astype(str),
            dict.fromkeys(NUMBERS, none),
            texts,
            texts,
            (),
            dict.fromkeys(KEEP, none.astype(bool)),
        )

    @classmethod
    def of(cls, ranking: pd.DataFrame) -> ConceptRows:
        """Rows of a ranking with ``concept``, ``name``, `NUMBERS`, ``where``, ``flags``."""
        concept = ranking["concept"].to_numpy(np.int64)
        flags = tuple(ranking["flags"])
        # Few concepts are flagged, and few kinds of flags there are.
        which = {text: _left_out_by(text) for text in set(flags)}
        return cls(
            concept,
            concept.astype(str),
            {key: ranking[key].to_numpy(float) for key in NUMBERS},
            _Texts.of([str(name) for name in ranking["name"]]),
            _Texts.of([_short(place) for place in ranking["where"]]),
            flags,
            {key: np.array([key in which[text] for text in flags], bool) for key in KEEP},
        )

    def __len__(self) -> int:
        return len(self.concept)

    def renamed(self, names: Mapping[int, str]) -> ConceptRows:
        """Return the rows with other names."""
        new = tuple(map(names.get, self.concept.tolist(), repeat("")))
        return self if new == self.name.shown else replace(self, name=_Texts.of(new))

    def order(
        self,
        key: str,
        *,
        descending: bool,
        search: str = "",
        keep: str = "all",
        shown: Collection[int] = (),
    ) -> npt.NDArray[np.int64]:
        """Row numbers to show, in order.

        Parameters
        ----------
        key : str
            ``concept``, ``name``, ``where``, one of `NUMBERS`, or ``show``.
        descending : bool
            Rows without a name, place or number come last either way.
        search : str
            Keep numbers that start with it and names that contain it.
        keep : str
            A key of `KEEP`.
        shown : collection of int
            Concepts that are over the slide, for the key ``show``.
        """
        keeps = ~self.left_out[keep]
        wanted = search.strip().lower()
        if wanted:
            hits = np.char.startswith(self.ids, wanted)
            hits |= np.char.find(self.name.lower, wanted) >= 0
            keeps &= hits
        rows = np.flatnonzero(keeps)
        values = self._sizes(key, shown)[rows]
        unknown = np.isnan(values)
        values = np.where(unknown, np.inf, -values if descending else values)
        return rows[np.argsort(values, kind="stable")]

    def _sizes(self, key: str, shown: Collection[int]) -> npt.NDArray[np.float64]:
        if key == "show":
            return np.isin(self.concept, list(shown)).astype(float)
        if key == "concept":
            return self.concept.astype(float)
        if key in NUMBERS:
            return self.numbers[key]
        texts: Any = self.name if key == "name" else self.where
        return np.where(texts.rank > 0, texts.rank, np.nan)


def _left_out_by(flags: str) -> set[str]:
    return {key for key, (_, out) in KEEP.items() if any(flag in flags for flag in out)}


def _short(place: str) -> str:
    """``nucleus 82%`` -> ``nuc 82``."""
    part, _, share = str(place).partition(" ")
    return f"{_PLACES.get(part, part)} {share.rstrip('%')}".strip()
