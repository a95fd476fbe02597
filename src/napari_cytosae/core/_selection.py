"""The choice of a classifier by cross-validation, and its honest score by nesting it.

All folds keep the samples of a patient together.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]

from napari_cytosae.core._calibration import (
    conformal_limit,
    prediction_sets,
    probabilities,
    temperature,
)
from napari_cytosae.core._recipes import (
    Bayes,
    Logistic,
    Recipe,
    Table,
    held_out_scores,
)
from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.types import BoolArray, Float64Array, Int64Array

FOLDS = 5

Candidate = tuple[Recipe, ...]
"""Classifiers whose scores, brought to one scale, are averaged."""

_SHARES = (Bayes("fraction", 0.1), Bayes("fraction", 0.15))
_PRESENCE = (Bayes("presence", 0.1), Bayes("presence", 0.15))

CANDIDATES: dict[str, Candidate] = {
    "logistic, fractions": (Logistic("fraction", 100, 1.5),),
    "logistic, square roots": (Logistic("sqrt", 100, 1.5),),
    "naive Bayes, fractions": _SHARES,
    "naive Bayes, presence": _PRESENCE,
    "naive Bayes, fractions and presence": (*_SHARES, *_PRESENCE),
    "logistic and naive Bayes": (Logistic("fraction", 100, 1.5), *_SHARES),
}
"""What cross-validation chooses from; `benchmarks/heads.py` says why these."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What cross-validation within the training patients has found.

    Attributes
    ----------
    name : str
        Of the candidate.
    scales : tuple of float
        Spread of each recipe's held-out scores.
    factor : float
        Of the averaged scores, to be logits.
    limit : float
        Of `conformal_limit`.
    losses : dict
        Log-loss of each candidate.
    """

    name: str
    scales: tuple[float, ...]
    factor: float
    limit: float
    losses: dict[str, float]

    @property
    def recipes(self) -> Candidate:
        """The classifiers of the candidate."""
        return CANDIDATES[self.name]


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """Predictions of patients by heads that did not see them.

    Attributes
    ----------
    p : ndarray of float64, (repeats, n, n_classes)
    sets : ndarray of bool, (repeats, n, n_classes)
        Prediction sets.
    labels : ndarray of int64, (n,)
    classes : tuple of str
    chosen : dict
        How often each candidate was chosen.
    """

    p: Float64Array
    sets: BoolArray
    labels: Int64Array
    classes: tuple[str, ...]
    chosen: dict[str, int]


def folds(
    labels: Int64Array, groups: Int64Array, seed: int
) -> list[tuple[Int64Array, Int64Array]]:
    """Train and test rows of each fold, with all classes in each where they suffice."""
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    splitter = StratifiedGroupKFold(
        max(2, min(FOLDS, fewest)), shuffle=True, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare classes, which are reported
        return list(splitter.split(labels[:, None], labels, groups))


def choose(
    table: Table,
    labels: Int64Array,
    groups: Int64Array,
    n_classes: int,
    train: Int64Array,
    seed: int = 0,
) -> Choice:
    """Choose a candidate and calibrate it, from patients `train` alone."""
    splits = folds(labels[train], groups[train], seed)
    scores: dict[Recipe, Float64Array] = {}
    for recipe in {recipe for parts in CANDIDATES.values() for recipe in parts}:
        out = np.zeros((len(train), n_classes))
        for inside, outside in splits:
            out[outside] = held_out_scores(
                recipe, table, labels, n_classes, train[inside], train[outside]
            )
        scores[recipe] = out
    scales = {recipe: float(out.std()) or 1.0 for recipe, out in scores.items()}
    averaged = {
        name: sum_scores([scores[part] for part in parts], [scales[part] for part in parts])
        for name, parts in CANDIDATES.items()
    }
    fitted = {name: temperature(mean, labels[train]) for name, mean in averaged.items()}
    name = min(fitted, key=lambda name: fitted[name][1])
    factor = fitted[name][0]
    p = probabilities(averaged[name] * factor)
    return Choice(
        name,
        tuple(scales[part] for part in CANDIDATES[name]),
        factor,
        conformal_limit(p, labels[train]),
        {name: loss for name, (_, loss) in fitted.items()},
    )


def sum_scores(scores: list[Float64Array], scales: list[float]) -> Float64Array:
    """Mean of the scores, each divided by its scale."""
    total = np.zeros_like(scores[0])
    for part, scale in zip(scores, scales, strict=True):
        total += part / (scale * len(scores))
    return total


def nested(
    table: Table,
    labels: Int64Array,
    groups: Int64Array,
    classes: tuple[str, ...],
    repeats: int,
) -> Generator[Progress, None, Validation]:
    """Repeat the whole of `choose` on all but a fold, and predict that fold.

    Yields
    ------
    Progress
        After each fold.
    """
    n, n_classes = len(labels), len(classes)
    p = np.zeros((repeats, n, n_classes))
    sets = np.zeros((repeats, n, n_classes), dtype=bool)
    chosen: dict[str, int] = {}
    splits = [
        (repeat, *split)
        for repeat in range(repeats)
        for split in folds(labels, groups, repeat)
    ]
    for done, (repeat, train, test) in enumerate(splits):
        yield Progress("Cross-validating", done, len(splits), "folds")
        choice = choose(table, labels, groups, n_classes, train, seed=repeat + 1)
        parts = [
            held_out_scores(recipe, table, labels, n_classes, train, test)
            for recipe in choice.recipes
        ]
        logits = sum_scores(parts, list(choice.scales)) * choice.factor
        p[repeat, test] = probabilities(logits)
        sets[repeat, test] = prediction_sets(p[repeat, test], choice.limit)
        chosen[choice.name] = chosen.get(choice.name, 0) + 1
    return Validation(p, sets, labels, classes, chosen)
