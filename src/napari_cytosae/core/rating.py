"""Several people say what concepts show, without seeing names, and how far they agree."""

from __future__ import annotations

import hashlib
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from napari_cytosae.core.types import BoolArray

    Said = list[str] | BoolArray

UNCLEAR = "not clear"
"""The label for a concept in which a rater sees nothing in common."""


def blinded_order(concepts: Iterable[int], rater: str) -> list[int]:
    """The concepts in an order of the rater's own, so that neither rank nor id tells.

    The same rater meets the same concepts in the same order again, and can go on later.
    """
    ordered = sorted(set(concepts))
    digest = hashlib.sha256(rater.strip().casefold().encode()).digest()
    shuffled = np.random.default_rng(list(digest)).permutation(len(ordered))
    return [ordered[i] for i in shuffled]


def agreement(ratings: Mapping[str, Mapping[int, str]]) -> pd.DataFrame:
    """How far each two raters agree beyond chance on what a concept is called.

    Parameters
    ----------
    ratings : mapping of rater to mapping of concept to label
        Of `ConceptNames.ratings`; labels are compared whole, however many tags they have.

    Returns
    -------
    DataFrame
        One row a pair: ``rater_a``, ``rater_b``, ``concepts`` rated by both, ``agree`` (the
        share with the same label) and ``kappa`` (Cohen 1960,
        doi:10.1177/001316446002000104), NaN where both used one and the same label
        throughout or no concept is shared.
    """
    rows = [
        (a, b, len(pair[0]), _same(*pair), _kappa(*pair)) for a, b, pair in _pairs(ratings)
    ]
    columns = ["rater_a", "rater_b", "concepts", "agree", "kappa"]
    return pd.DataFrame(rows, columns=columns)


def agreement_by_tag(ratings: Mapping[str, Mapping[int, str]]) -> pd.DataFrame:
    """How far each two raters agree beyond chance on where a tag applies.

    Parameters
    ----------
    ratings : mapping of rater to mapping of concept to label
        Of `ConceptNames.ratings`; the tags of a label have ``;`` between them.

    Returns
    -------
    DataFrame
        One row a tag and pair that used it, sorted by tag: ``tag``, ``rater_a``,
        ``rater_b``, in how many concepts rated by both ``both`` used it, ``only_a``,
        ``only_b`` or ``neither``, and ``agree`` and ``kappa`` as in `agreement`, of used
        or not.
    """
    rows = []
    for a, b, pair in _pairs(ratings):
        said = [[set(tags_of(label)) for label in labels] for labels in pair]
        for tag in sorted(set().union(*said[0], *said[1])):
            used = [np.array([tag in tags for tags in each]) for each in said]
            rows.append(
                (
                    tag,
                    a,
                    b,
                    int((used[0] & used[1]).sum()),
                    int((used[0] & ~used[1]).sum()),
                    int((~used[0] & used[1]).sum()),
                    int((~used[0] & ~used[1]).sum()),
                    _same(*used),
                    _kappa(*used),
                )
            )
    columns = ["tag", "rater_a", "rater_b", "both", "only_a", "only_b", "neither"]
    table = pd.DataFrame(rows, columns=[*columns, "agree", "kappa"])
    return table.sort_values(["tag", "rater_a", "rater_b"], ignore_index=True)


def disagreements(ratings: Mapping[str, Mapping[int, str]]) -> pd.DataFrame:
    """Concepts that raters call differently: a row each, a column a rater."""
    table = pd.DataFrame({rater: pd.Series(labels) for rater, labels in ratings.items()})
    differs = table.nunique(axis=1) > 1
    return table.loc[differs].sort_index().rename_axis("concept").fillna("")


def tags_of(label: str) -> list[str]:
    """The tags of a label, in their order."""
    return [tag for part in label.split(";") if (tag := part.strip())]


def _pairs(
    ratings: Mapping[str, Mapping[int, str]],
) -> Iterator[tuple[str, str, tuple[list[str], list[str]]]]:
    """Each two raters, and what they said of the concepts that both rated."""
    for a, b in combinations(sorted(ratings), 2):
        both = sorted(set(ratings[a]) & set(ratings[b]))
        yield a, b, ([ratings[a][c] for c in both], [ratings[b][c] for c in both])


def _same(a: Said, b: Said) -> float:
    if not len(a):
        return float("nan")
    return float(np.mean([x == y for x, y in zip(a, b, strict=True)]))


def _kappa(a: Said, b: Said) -> float:
    from sklearn.metrics import cohen_kappa_score  # type: ignore[import-untyped]

    if len({*a, *b}) < 2:
        return float("nan")
    return float(cohen_kappa_score(a, b))
