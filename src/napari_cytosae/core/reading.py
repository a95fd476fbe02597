"""What a head says of one patient, taken apart: what the patient panel shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._calibration import prediction_sets
from napari_cytosae.core._checks import unknown
from napari_cytosae.core._location import PLACES
from napari_cytosae.core.builtin_head import is_synthetic
from napari_cytosae.core.encoded_cells import rows as encoded_rows
from napari_cytosae.core.explanation import (
    cell_changes,
    class_probabilities,
    contributions,
    scores_without,
    waterfall,
)
from napari_cytosae.core.heads import predict
from napari_cytosae.core.quality import FACTS
from napari_cytosae.core.types import ModelMismatchError, Progress
from napari_cytosae.core.whereabouts import locate

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping

    import pandas as pd
    from scipy import sparse

    from napari_cytosae.core.case import Case
    from napari_cytosae.core.heads import Head
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.types import BoolArray, Float64Array, Int64Array

STRONGEST = 12
"""Concepts of a class that are shown one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A prediction and all it is made of.

    Attributes
    ----------
    head : Head
    case : Case
    rows : ndarray of int64, (n,)
        Cells of the case that count.
    barcodes : Barcodes
        The patient's row.
    table : DataFrame
        One row of ``predictions.csv``.
    probabilities : ndarray of float64, (n_classes,)
    in_set : ndarray of bool, (n_classes,)
        Classes of the prediction set.
    counts : csr_array of float32, (n, k)
        Token counts of the cells, columns as the head's.
    contributions : ndarray of float64, (n_classes, k)
    changes : ndarray of float64, (n, n_classes)
        Score with a cell minus score without it; zeros where there is a single cell.
    places : dict of int to dict of str to float
        Shares of `concepts.PLACES` in which the strongest concepts of each class fire;
        empty where the cells' tokens were not kept.
    """

    head: Head
    case: Case
    rows: Int64Array
    barcodes: Barcodes
    table: pd.DataFrame
    probabilities: Float64Array
    in_set: BoolArray
    counts: sparse.csr_array
    contributions: Float64Array
    changes: Float64Array
    places: Mapping[int, dict[str, float]] = field(default_factory=dict)

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return str(self.table["predicted"].iloc[0])

    @property
    def reason(self) -> str:
        """Why there is no answer; empty where there is one."""
        return str(self.table["reason"].iloc[0])

    @property
    def synthetic(self) -> bool:
        """Whether the head was trained on patients that were drawn."""
        return is_synthetic(self.head)

    @property
    def note(self) -> str:
        """What every export of it must say."""
        return str(self.table["note"].iloc[0])

    @property
    def clumps(self) -> int:
        """Cells that count as one though they lie in a clump or are as large as several."""
        flags = []
        for image in self.case.images:
            table = image.cells.table
            here = np.searchsorted(table["cell_id"], image.encoded.cell_ids)
            flags.append(np.char.find(table["qc"].to_numpy(str)[here], "clump") >= 0)
        return int(np.concatenate(flags)[self.rows].sum()) if flags else 0

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Those of `quality.FACTS` that head or patient do not know."""
        facts = self.barcodes.facts
        known = np.zeros(len(FACTS), bool) if facts is None else np.isfinite(facts[0])
        return tuple(
            name
            for name, measured in zip(FACTS, known, strict=True)
            if not measured or name not in self.head.ranges
        )

    @property
    def unknown(self) -> list[str]:
        """Settings that head or patient do not tell, so that they cannot be compared."""
        return unknown(self.head, self.barcodes)

    def score(self, label: str) -> float:
        """The score of a class, which its contributions add up to."""
        index = self.head.classes.index(label)
        return float(self.head.intercept[index] + self.contributions[index].sum())

    def waterfall(
        self, label: str, names: Mapping[int, str] | None = None, top: int = STRONGEST
    ) -> pd.DataFrame:
        """`explanation.waterfall` of a class."""
        return waterfall(self.head, self.counts_row(), label, names, top)

    def place(self, concept: int) -> dict[str, float]:
        """Shares of `concepts.PLACES`, in which a concept fires; empty where unknown."""
        return self.places.get(concept, {})

    def interval(self, concept: int) -> tuple[float, float, float]:
        """Patches a cell, and the bootstrap interval over the cells."""
        column = np.flatnonzero(self.barcodes.concepts == concept)
        tables = (self.barcodes.values, self.barcodes.low, self.barcodes.high)
        value, low, high = (
            # Of a single row, as scipy takes its time with columns.
            np.nan if table is None else float(table.data[table.indices == column].sum())
            for table in tables
        )
        return value, low, high

    def counts_row(self) -> sparse.csr_array:
        """The barcode, columns as the head's, (1, k)."""
        return self.head.columns(self.barcodes)

    def without(
        self, cells: Collection[int] = (), concepts: Collection[int] = ()
    ) -> tuple[Float64Array, Float64Array]:
        """Scores and probabilities if some cells (positions in `rows`) or concepts left."""
        scores = scores_without(self.head, self.counts, sorted(cells), sorted(concepts))
        return scores, class_probabilities(scores)

    def patches_of(self, concept: int) -> Float64Array:
        """Tokens over the threshold in each cell, (n,)."""
        column = np.flatnonzero(self.head.concepts == concept)
        patches: Float64Array = self.counts[:, column].toarray()[:, 0].astype(np.float64)
        return patches

    def cells_of(self, concept: int) -> Int64Array:
        """Positions of the cells that show a concept, the strongest first."""
        strength = self.patches_of(concept)
        order = np.argsort(-strength, kind="stable")
        return order[strength[order] > 0].astype(np.int64)

    def cells_for(self, label: str) -> Int64Array:
        """Positions of all cells, those that change a class's score most first."""
        change = np.abs(self.changes[:, self.head.classes.index(label)])
        return np.argsort(-change, kind="stable").astype(np.int64)


def read(
    head: Head,
    case: Case,
    leave_out_flagged: bool = False,
    models: Models | None = None,
    spared: Collection[str] = (),
) -> Generator[Progress, None, Reading]:
    """Let a head read a patient.

    Parameters
    ----------
    head : Head
        The classifier.
    case : Case
        The patient.
    leave_out_flagged : bool
        Count cells without a quality flag only.
    spared : collection of str
        Of `flags.REASONS`, those that leave no cell out.
    models : Models, optional
        That encoded the cells: tell where in them the strongest concepts fire.

    Raises
    ------
    ModelMismatchError
        If the head is of another SAE or threshold, or counts the CLS token.
    CytoError
        If no cell counts.
    """
    yield Progress("Predicting", 0, 2, "steps")
    check(head)
    kept = case.unflagged(spared) if leave_out_flagged else np.ones(len(case), bool)
    barcodes = case.barcodes(kept)
    values = head.columns(barcodes)
    if threshold_of(head) not in (None, threshold_in(case)):
        raise ModelMismatchError(
            f"The head was trained with threshold {threshold_of(head)}; encode with it."
        )
    table = predict(head, barcodes)
    p = table[[f"p_{name}" for name in head.classes]].to_numpy(np.float64)
    counts = case.counts[kept]
    if not np.array_equal(head.concepts, np.arange(counts.shape[1])):
        counts = counts[:, head.concepts]
    yield Progress("Predicting", 1, 2, "steps")
    changes = np.zeros((1, len(head.classes)))
    if counts.shape[0] > 1:
        changes = cell_changes(head, counts)
    rows, each = np.flatnonzero(kept), contributions(head, values)
    places: dict[int, dict[str, float]] = {}
    if models is not None:
        strongest = np.argsort(-np.abs(each), axis=1, kind="stable")[:, :STRONGEST]
        places = yield from _places(models, case, rows, head.concepts[strongest])
    return Reading(
        head,
        case,
        rows,
        barcodes,
        table,
        p[0],
        prediction_sets(p, head.limit)[0],
        counts,
        each,
        changes,
        places,
    )


def _places(
    models: Models, case: Case, rows: Int64Array, concepts: Int64Array
) -> Generator[Progress, None, dict[int, dict[str, float]]]:
    """Where concepts fire in the cells that count; nothing without their tokens."""
    parts, start = [], 0
    for image in case.images:
        inside = rows[(rows >= start) & (rows < start + len(image.encoded))] - start
        start += len(image.encoded)
        if image.encoded.tokens is None:
            return {}
        if len(inside):
            parts.append((encoded_rows(image.encoded, inside), image.cells))
    wanted = [int(concept) for concept in np.unique(concepts)]
    found = (yield from locate(models, parts, wanted))[list(PLACES)].dropna()
    shares = found.to_numpy(np.float64).tolist()
    return {
        int(concept): dict(zip(PLACES, row, strict=True))
        for concept, row in zip(found.index, shares, strict=True)
    }


def check(head: Head) -> None:
    """Refuse a head whose barcodes count what a `Case` does not.

    Raises
    ------
    ModelMismatchError
        If it counts the CLS token.
    """
    if head.about.get("include_cls"):
        raise ModelMismatchError(
            "This head counts the CLS token too, which has no place in a cell to be shown: "
            "use `barcode --include-cls` and `predict`, or a head trained without it."
        )


def threshold_in(case: Case) -> float:
    """Threshold that a patient was examined with."""
    return case.images[0].encoded.activations.threshold


def threshold_of(head: Head) -> float | None:
    """Threshold of the barcodes that a head was trained on; None where unknown."""
    value = head.about.get("threshold")
    return None if value is None else float(value)
