"""Several people say what concepts show, without seeing names, and how far they agree."""

from __future__ import annotations

import hashlib
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    """How far each two raters agree beyond chance.

    Parameters
    ----------
    ratings : mapping of rater to mapping of concept to label
        Of `ConceptNames.ratings`.

    Returns
    -------
    DataFrame
        One row a pair: ``rater_a``, ``rater_b``, ``concepts`` rated by both, ``agree`` (the
        share with the same label) and ``kappa`` (Cohen 1960,
        doi:10.1177/001316446002000104), NaN where both used one and the same label
        throughout or no concept is shared.
    """
    rows = []
    for a, b in combinations(sorted(ratings), 2):
        both = sorted(set(ratings[a]) & set(ratings[b]))
        pair = [[ratings[who][concept] for concept in both] for who in (a, b)]
        same = (
            float(np.mean([x == y for x, y in zip(*pair, strict=True)])) if both else np.nan
        )
        rows.append((a, b, len(both), same, _kappa(*pair)))
    columns = ["rater_a", "rater_b", "concepts", "agree", "kappa"]
    return pd.DataFrame(rows, columns=columns)


def disagreements(ratings: Mapping[str, Mapping[int, str]]) -> pd.DataFrame:
    """Concepts that raters call differently: a row each, a column a rater."""
    table = pd.DataFrame({rater: pd.Series(labels) for rater, labels in ratings.items()})
    differs = table.nunique(axis=1) > 1
    return table.loc[differs].sort_index().rename_axis("concept").fillna("")


def _kappa(a: list[str], b: list[str]) -> float:
    from sklearn.metrics import cohen_kappa_score  # type: ignore[import-untyped]

    if len({*a, *b}) < 2:
        return float("nan")
    return float(cohen_kappa_score(a, b))
