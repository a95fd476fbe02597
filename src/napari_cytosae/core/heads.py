"""From barcodes to diagnoses: a linear head that is calibrated and knows its limits.

The score of a class is an intercept and one contribution of each concept, see
`core.explanation`; `core._selection` chooses the head and measures it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core._calibration import prediction_sets, probabilities
from napari_cytosae.core._checks import SETTINGS, mismatches, unchecked
from napari_cytosae.core._copies import kept_together
from napari_cytosae.core._head import Head, Part
from napari_cytosae.core._labels import FEW_PATIENTS, cautions, undiagnosed, usable
from napari_cytosae.core._profiles import Profiles, profiles_of
from napari_cytosae.core._recipes import Table, Transform, coefficients, transformed
from napari_cytosae.core._selection import Validation, choose, nested
from napari_cytosae.core.quality import ranges, strangeness
from napari_cytosae.core.types import RESEARCH_USE, Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from scipy.sparse import csr_array

    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.types import Float64Array

__all__ = [
    "FEW_CELLS",
    "FEW_PATIENTS",
    "Head",
    "Part",
    "Profiles",
    "Validation",
    "cautions",
    "likeness",
    "mismatches",
    "predict",
    "train",
    "unchecked",
    "undiagnosed",
    "usable",
]

FEW_CELLS = 20
"""With fewer cells, and fewer than any training patient, there is no answer."""

_UNSEEN = 0.02
"""Share of a barcode on concepts unseen in training that is never held against it."""


def predict(head: Head, barcodes: Barcodes) -> pd.DataFrame:
    """The table of ``predictions.csv``: probabilities, and why there is no answer.

    Raises
    ------
    ModelMismatchError
        If the barcodes do not fit the head.
    """
    values = head.columns(barcodes)
    p = probabilities(head.scores(values))
    sets = prediction_sets(p, head.limit)
    similarity, unseen = likeness(head, values)
    reasons, otherwise = [], mismatches(head, barcodes)
    for row in range(len(barcodes)):
        why = [*otherwise]
        cells = barcodes.n_cells[row]
        if cells < head.fewest_cells:
            why.append(f"only {cells:.0f} cells")
        if similarity[row] < head.similarity:
            why.append("unlike the patients of the training")
        if unseen[row] > head.unseen:
            why.append(f"{unseen[row]:.0%} on concepts unseen in training")
        if barcodes.facts is not None:
            why += strangeness(barcodes.facts[row], head.ranges)
        if not sets[row].any():
            why.append("no class is as likely as the training patients' own")
        if head.limit <= 0:
            # So few that a set of nine in ten must always hold all classes.
            why.append("the head was trained on too few patients to exclude any class")
        elif sets[row].sum() > 1:
            open_classes = [head.classes[i] for i in np.flatnonzero(sets[row])]
            why.append(f"undecided between {' and '.join(open_classes)}")
        reasons.append("; ".join(why))
    note = head.about.get("note", RESEARCH_USE)
    if note == RESEARCH_USE:
        note = barcodes.note
    known = np.isfinite(barcodes.n_cells)
    cells = pd.array(np.where(known, barcodes.n_cells, 0).astype(np.int64), dtype="Int64")
    cells[~known] = pd.NA
    return pd.DataFrame(
        {
            "patient": list(barcodes.patients),
            "predicted": [head.classes[i] for i in p.argmax(axis=1)],
            **{f"p_{name}": p[:, i] for i, name in enumerate(head.classes)},
            "abstained": [bool(reason) for reason in reasons],
            "reason": reasons,
            "n_cells": cells,
            "note": note,
        }
    )


def likeness(head: Head, values: csr_array) -> tuple[Float64Array, Float64Array]:
    """How like the training patients others are, from 0 to 1, and their unseen share."""
    root = transformed(values, "sqrt").astype(np.float64)
    return root @ head.typical, (root[:, head.typical == 0] ** 2).sum(axis=1)


def train(
    barcodes: Barcodes, repeats: int = 5
) -> Generator[Progress, None, tuple[Head, Validation]]:
    """Train a head, and measure it by nested cross-validation.

    Parameters
    ----------
    barcodes : Barcodes
        Of `usable`: each with a diagnosis.
    repeats : int
        Of the cross-validation, each with other folds.

    Yields
    ------
    Progress
        In folds.

    Returns
    -------
    head : Head
    validation : Validation
        What heads said of patients they did not see.
    """
    classes, labels = np.unique(
        np.array(barcodes.diagnosis, dtype=str), return_inverse=True
    )
    groups = kept_together(barcodes)
    names = tuple(map(str, classes))
    table = Table(barcodes.values)
    validation = yield from nested(table, labels, groups, names, repeats)
    everyone = np.arange(len(labels))
    choice = choose(table, labels, groups, len(names), everyone)
    parts: dict[Transform, Float64Array] = {}
    intercept = np.zeros(len(names))
    for recipe, scale in zip(choice.recipes, choice.scales, strict=True):
        weights, offset = coefficients(recipe, table, labels, len(names), everyone)
        factor = choice.factor / (scale * len(choice.recipes))
        known = parts.get(recipe.transform, np.zeros_like(weights))
        parts[recipe.transform] = known + factor * weights
        intercept += factor * offset
    kept = []
    for transform, weights in parts.items():
        reference = table.dense(transform).mean(axis=0, dtype=np.float64)
        intercept = intercept + weights @ reference
        kept.append(Part(transform, weights, reference))
    typical, similarity, unseen = _limits(table)
    cells = barcodes.n_cells[np.isfinite(barcodes.n_cells)]
    parameters = barcodes.record.get("parameters")
    settings = parameters if isinstance(parameters, dict) else {}
    about = {
        "note": barcodes.note,
        "method": choice.name,
        "log_loss": choice.losses,
        "chosen_in_folds": validation.chosen,
        "patients": dict(Counter(barcodes.diagnosis)),
        "table_sha256": _table_hash(barcodes),
        **{key: np.asarray(settings[key]).item() for key in SETTINGS if key in settings},
    }
    head = Head(
        names,
        barcodes.concepts,
        tuple(kept),
        intercept,
        choice.limit,
        typical,
        float(min(FEW_CELLS, cells.min())) if len(cells) else float(FEW_CELLS),
        similarity,
        unseen,
        barcodes.sae_sha256,
        about,
        profiles_of(table.dense("fraction").astype(np.float64), labels, groups, len(names)),
        {} if barcodes.facts is None else ranges(barcodes.facts),
    )
    return head, validation


def _limits(table: Table) -> tuple[Float64Array, float, float]:
    """Typical root fractions, and what no training patient comes near to without itself."""
    root = table.dense("sqrt").astype(np.float64)
    total, n = root.sum(axis=0), len(root)
    others = total - root
    inside = (root * others).sum(axis=1) / np.linalg.norm(others, axis=1)
    low, high = np.percentile(inside, (25, 75))
    # Tukey's far-out fence, but no deeper than half of the least typical patient.
    similarity = max(low - 3 * (high - low), inside.min() / 2)
    alone = (root > 0).sum(axis=0) == 1
    shares = (root[:, alone] ** 2).sum(axis=1)
    low, high = np.percentile(shares, (25, 75))
    unseen = max(high + 3 * (high - low), _UNSEEN)
    assert n > 1
    return total / np.linalg.norm(total), float(similarity), float(unseen)


def _table_hash(barcodes: Barcodes) -> str:
    digest = hashlib.sha256(repr((barcodes.patients, barcodes.diagnosis)).encode())
    for array in (barcodes.values.indptr, barcodes.values.indices, barcodes.values.data):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
