"""The reasons of a prediction as a table: what `Reading` shows, to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_cytosae.core._location import PLACES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.reading import Reading

COLUMNS = (
    "patient",
    "class",
    "concept",
    "name",
    *PLACES,
    "patches_per_cell",
    "low",
    "high",
    "cells",
    "contribution",
    "total",
    "note",
)
"""Of `why_table`, in order."""


def why_table(reading: Reading, names: Mapping[int, str] | None = None) -> pd.DataFrame:
    """What adds up to the scores of a patient, the strongest concepts one by one.

    Returns
    -------
    DataFrame
        ``patient, class, concept`` (empty for the mean training patient and the other
        concepts), ``name, nucleus, cytoplasm, outside`` (shares, empty where unknown),
        ``patches_per_cell, low, high`` (bootstrap), ``cells`` (that show it),
        ``contribution, total, note``. The last total of a class is its score.
    """
    rows: list[dict[str, Any]] = []
    for label in reading.head.classes:
        for _, step in reading.waterfall(label, names).iterrows():
            concept = int(step["concept"])
            known: dict[str, Any] = {"concept": pd.NA}
            if concept >= 0:
                value, low, high = reading.interval(concept)
                known = {"concept": concept, **reading.place(concept)}
                known |= {"patches_per_cell": value, "low": low, "high": high}
                known["cells"] = int((reading.patches_of(concept) > 0).sum())
            about = {"patient": reading.case.patient, "class": label}
            rows.append(dict(step) | about | known | {"note": reading.note})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    whole = {"concept": "Int64", "cells": "Int64"}
    return table.astype(whole)
