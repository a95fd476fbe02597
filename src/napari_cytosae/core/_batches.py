"""Do the concepts tell how a patient was imaged? Then a head may have learned that."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._copies import kept_together
from napari_cytosae.core._labels import FEWEST_PATIENTS
from napari_cytosae.core._recipes import Logistic, Table, held_out_scores
from napari_cytosae.core._selection import folds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.patients import Barcodes

_RECIPE = Logistic("fraction", 100, 1.5)
_ERRORS = 2.0
"""Standard errors above guessing from which on a batch effect is warned of."""


@dataclass(frozen=True, slots=True)
class BatchEffect:
    """How well the concepts predict one column of the patients' table.

    Attributes
    ----------
    column : str
        ``scanner``, ``day``.
    patients : int
        With a value that enough others share; 0 where that could not be tested.
    accuracy : float
        Of held-out patients, 5-fold.
    guess : float
        Share of the most frequent value.
    diagnosis : float
        Share of patients whose diagnosis is the most frequent one of their batch: 1 where
        batch and diagnosis cannot be told apart.
    """

    column: str
    patients: int
    accuracy: float
    guess: float
    diagnosis: float

    @property
    def found(self) -> bool:
        """Whether the concepts do better than guessing, by more than chance."""
        if not self.patients:
            return False
        error = np.sqrt(max(self.guess * (1 - self.guess), 1e-9) / self.patients)
        return bool(self.accuracy > self.guess + _ERRORS * error)

    def __str__(self) -> str:
        """One line."""
        if not self.patients:
            return (
                f"{self.column}: not tested, no two values with {FEWEST_PATIENTS} patients"
            )
        return (
            f"{self.column}: predicted from the concepts for {self.accuracy:.0%} of "
            f"{self.patients} patients ({self.guess:.0%} by guessing); the commonest "
            f"diagnosis of each {self.column} is that of {self.diagnosis:.0%}"
        )


def batch_effects(
    barcodes: Barcodes, columns: Mapping[str, Mapping[str, str]]
) -> list[BatchEffect]:
    """Try to predict each column from the barcodes.

    Parameters
    ----------
    barcodes : Barcodes
        Of `usable`.
    columns : mapping of column to (mapping of patient to value)
        What is known of how the patients were imaged. Values of fewer than
        `FEWEST_PATIENTS` patients are not looked at; a column with less than two others is
        not tested, and says so.
    """
    table = Table(barcodes.values)
    patients = np.array(barcodes.patients, dtype=str)
    diagnoses = np.array(barcodes.diagnosis, dtype=str)
    effects, together = [], kept_together(barcodes)
    for column, known in columns.items():
        values = np.array([known.get(str(patient), "") for patient in patients])
        owners = Counter(dict(zip(patients, values, strict=True)).values())
        kept = np.array([bool(v) and owners[v] >= FEWEST_PATIENTS for v in values])
        names, labels = np.unique(values[kept], return_inverse=True)
        if len(names) < 2:
            effects.append(BatchEffect(column, 0, np.nan, np.nan, np.nan))
            continue
        rows = np.flatnonzero(kept)
        whole = np.zeros(len(values), dtype=np.int64)
        whole[rows] = labels
        groups = np.unique(together[rows], return_inverse=True)[1]
        right = np.zeros(len(rows), bool)
        for train, test in folds(labels, groups, 0):
            scores = held_out_scores(
                _RECIPE, table, whole, len(names), rows[train], rows[test]
            )
            right[test] = scores.argmax(axis=1) == labels[test]
        common = sum(
            Counter(diagnoses[rows][labels == label]).most_common(1)[0][1]
            for label in range(len(names))
        )
        guess = np.bincount(labels).max() / len(labels)
        effects.append(
            BatchEffect(
                column, len(rows), float(right.mean()), float(guess), common / len(rows)
            )
        )
    return effects
