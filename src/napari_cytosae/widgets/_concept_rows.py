"""The rows of the table of concepts, as arrays: prepared off the GUI thread, no Qt.

Sorting and searching 49,152 rows only makes another array of row numbers; texts are
lowered, shortened and ordered once, when the rows are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from operator import is_not
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._annotation import Annotation
from napari_cytosae.core._location import PLACES
from napari_cytosae.core.words import attempts
from napari_cytosae.widgets._texts import Texts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

NUMBERS = ("here", "prevalence", "specificity", "fdr", *PLACES)
KEEP: dict[str, tuple[str, tuple[str, ...]]] = {
    "all": ("all concepts", ()),
    "background": ("no background", ("background",)),
    "always": ("no always-on", ("always-on",)),
    "both": ("neither", ("background", "always-on")),
    "flags": ("no flags", ("background", "always-on", "high magnitude", "unstable")),
}
"""Optional filters and the flags they leave out; nothing is left out unless asked for."""

ONLY: dict[str, str] = {"stars": "starred", "said": "named or tagged"}
"""Filters by what the analyst has said."""

NOWHERE = "-"
"""In place of where a concept fires that is too weak to say so; empty: not located yet."""

_NOTHING = Annotation()
_PLACES = {"nucleus": "nuc", "cytoplasm": "cyt", "outside": "out"}


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
    name, tags, cell_class, where : Texts
        `cell_class` is what a catalogue's top images show, with counts.
    star : ndarray of bool, (n,)
    annotations : mapping of concept to Annotation
        From which name, tags and star are; see `said`.
    flags : tuple of str
    n_flags : ndarray of float64, (n,)
        How many they are; NaN for none.
    left_out : dict of str to ndarray of bool, (n,)
        By the keys of `KEEP`.
    """

    concept: npt.NDArray[np.int64]
    ids: npt.NDArray[np.str_]
    numbers: Mapping[str, npt.NDArray[np.float64]]
    name: Texts
    tags: Texts
    cell_class: Texts
    where: Texts
    star: npt.NDArray[np.bool_]
    annotations: Mapping[int, Annotation]
    flags: tuple[str, ...]
    n_flags: npt.NDArray[np.float64]
    left_out: Mapping[str, npt.NDArray[np.bool_]]

    @classmethod
    def empty(cls) -> ConceptRows:
        """No concepts."""
        none = np.empty(0)
        texts = Texts.of(())
        return cls(
            none.astype(np.int64),
            none.astype(str),
            dict.fromkeys(NUMBERS, none),
            texts,
            texts,
            texts,
            texts,
            none.astype(bool),
            {},
            (),
            none,
            dict.fromkeys(KEEP, none.astype(bool)),
        )

    @classmethod
    def of(cls, ranking: pd.DataFrame) -> ConceptRows:
        """Rows of a ranking with ``concept``, ``name``, `NUMBERS`, ``where``, ``flags``.

        ``fdr``, ``class`` and the shares may be missing; tags and stars come with `said`.
        """
        concept = ranking["concept"].to_numpy(np.int64)
        flags = tuple(ranking["flags"])
        # Few concepts are flagged, and few kinds of flags there are.
        which = {text: _left_out_by(text) for text in set(flags)}
        return cls(
            concept,
            concept.astype(str),
            {key: _numbers(ranking, key) for key in NUMBERS},
            Texts.of([str(name) for name in ranking["name"]]),
            Texts.of([""] * len(ranking)),
            Texts.of(list(ranking.get("class", [""] * len(ranking)))),
            Texts.of([_short(place) for place in ranking["where"]]),
            np.zeros(len(ranking), bool),
            {},
            flags,
            np.array([text.count(";") + 1 if text else np.nan for text in flags], float),
            {key: np.array([key in which[text] for text in flags], bool) for key in KEEP},
        )

    def shares(self, row: int) -> str:
        """Where a row's concept fires, in words."""
        values = {place: float(self.numbers[place][row]) for place in PLACES}
        if any(map(np.isnan, values.values())):
            known = self.where.shown[row] == NOWHERE
            return "Fires too weakly to say where" if known else "Not located yet"
        said = ", ".join(f"{place} {value:.0%}" for place, value in values.items())
        return f"Share of its activation: {said}"

    def __len__(self) -> int:
        return len(self.concept)

    def said(self, annotations: Mapping[int, Annotation]) -> ConceptRows:
        """Return the rows with other names, tags and stars.

        Only the rows of which something else is said than before are looked at: this is
        done on the GUI thread after each naming.
        """
        both = list(self.annotations.keys() | annotations.keys())
        changed = map(is_not, map(self.annotations.get, both), map(annotations.get, both))
        differ = list(compress(both, changed))
        rows = np.flatnonzero(np.isin(self.concept, differ)).tolist()
        found = [annotations.get(int(self.concept[row]), _NOTHING) for row in rows]
        star = self.star.copy()
        star[rows] = [each.star for each in found]
        return replace(
            self,
            name=self.name.changed(rows, [each.name for each in found]),
            tags=self.tags.changed(rows, ["; ".join(each.tags) for each in found]),
            star=star,
            annotations=annotations,
        )

    def order(
        self,
        key: str,
        *,
        descending: bool,
        search: str = "",
        keep: str = "all",
        picked: Collection[int] | None = None,
        shown: Collection[int] = (),
    ) -> npt.NDArray[np.int64]:
        """Row numbers to show, in order.

        Parameters
        ----------
        key : str
            ``concept``, ``name``, ``where``, ``class``, ``tags``, ``flags``, one of
            `NUMBERS`, or ``show``.
        descending : bool
            Rows without a name, place or number come last either way.
        search : str
            Keep numbers that start with it, and names, tags and classes that contain it;
            where there are none, those with all of its words, or the words most like them.
        keep : str
            A key of `KEEP` or `ONLY`.
        picked : collection of int, optional
            Keep these concepts only.
        shown : collection of int
            Concepts that are over the slide, for the key ``show``.
        """
        keeps = self._kept(keep)
        if picked is not None:
            keeps &= np.isin(self.concept, list(picked))
        hits = np.ones(len(self), bool)
        for wanted in attempts(search, self._words):
            hits = self._hits(wanted)
            if hits.any():
                break
        keeps &= hits
        rows = np.flatnonzero(keeps)
        values = self._sizes(key, shown)[rows]
        unknown = np.isnan(values)
        values = np.where(unknown, np.inf, -values if descending else values)
        return rows[np.argsort(values, kind="stable")]

    def _kept(self, keep: str) -> npt.NDArray[np.bool_]:
        if keep == "stars":
            return self.star.copy()
        if keep == "said":
            return (self.name.rank > 0) | (self.tags.rank > 0)
        return ~self.left_out[keep]

    def _hits(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        hits = np.ones(len(self), bool)
        for word in words:
            hit = np.char.startswith(self.ids, word)
            for texts in (self.name, self.tags, self.cell_class):
                hit |= texts.contains(word)
            hits &= hit
        return hits

    def _words(self) -> set[str]:
        """All that can be searched for."""
        return self.name.words() | self.tags.words() | self.cell_class.words()

    def _sizes(self, key: str, shown: Collection[int]) -> npt.NDArray[np.float64]:
        if key == "show":
            return np.isin(self.concept, list(shown)).astype(float)
        if key == "concept":
            return self.concept.astype(float)
        if key in NUMBERS:
            return self.numbers[key]
        if key == "flags":
            return self.n_flags
        texts = {
            "name": self.name,
            "tags": self.tags,
            "class": self.cell_class,
            "where": self.where,
        }[key]
        return np.where(texts.rank > 0, texts.rank, np.nan)


def _numbers(ranking: pd.DataFrame, key: str) -> npt.NDArray[np.float64]:
    if key not in ranking:
        return np.full(len(ranking), np.nan)
    return ranking[key].to_numpy(float)


def _left_out_by(flags: str) -> set[str]:
    return {key for key, (_, out) in KEEP.items() if any(flag in flags for flag in out)}


def _short(place: str) -> str:
    """``nucleus 82%`` -> ``nuc 82``."""
    part, _, share = str(place).partition(" ")
    return f"{_PLACES.get(part, part)} {share.rstrip('%')}".strip()
