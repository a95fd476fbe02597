"""How a patient was imaged: is that like the patients a head was trained on.

Each cell gets a few numbers that concepts do not carry: how sharp it is, how it took the
stain, and how much of what the backbone saw the SAE's concepts leave unexplained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Encoded, Float64Array, UInt8Array

FACTS = ("focus", "stain strength", "stain hue", "reconstruction error")
"""Of a cell, in the order of the columns of `cell_facts`."""

FENCE = 3.0
"""Interquartile ranges beyond the quartiles: Tukey's far-out fence."""

_BRIGHT = 95


def cell_facts(
    models: Models, table: pd.DataFrame, crops: Sequence[UInt8Array], encoded: Encoded
) -> Float64Array:
    """The numbers of each cell, NaN where one is unknown.

    Parameters
    ----------
    models : Models
        That encoded the cells.
    table : DataFrame
        `Cells.table`, the rows of these cells.
    crops : sequence of ndarray of uint8, (h, w, 3)
        What was encoded.
    encoded : Encoded
        With tokens.

    Returns
    -------
    ndarray of float64, (n, len(FACTS))
    """
    found = np.full((len(crops), len(FACTS)), np.nan)
    if len(crops):
        found[:, 0] = table["focus"].to_numpy(np.float64)
        found[:, 1:3] = [_stain(crop) for crop in crops]
        found[:, 3] = models.reconstruction_error(encoded)
    return found


def summary(facts: Float64Array) -> Float64Array:
    """A patient's numbers: the medians of his cells, (len(FACTS),)."""
    known = np.isfinite(facts).any(axis=0)
    medians = np.full(facts.shape[1], np.nan)
    medians[known] = np.nanmedian(facts[:, known], axis=0)
    return medians


def ranges(patients: Float64Array) -> dict[str, tuple[float, float]]:
    """Where the training patients' numbers lie, with a fence around; unknown ones left out.

    Parameters
    ----------
    patients : ndarray of float64, (n, len(FACTS))
        Of `summary`.
    """
    found = {}
    for name, values in zip(FACTS, patients.T, strict=True):
        known = values[np.isfinite(values)]
        if len(known) > 3:
            low, high = np.percentile(known, (25, 75))
            reach = FENCE * (high - low)
            found[name] = (
                float(min(low - reach, known.min())),
                float(max(high + reach, known.max())),
            )
    return found


def strangeness(facts: Float64Array, known: dict[str, tuple[float, float]]) -> list[str]:
    """What of a patient lies outside the range, as parts of a sentence."""
    said = []
    for name, value in zip(FACTS, facts, strict=True):
        if name not in known or not np.isfinite(value):
            continue
        low, high = known[name]
        if not low <= value <= high:
            side = "below" if value < low else "above"
            limit = low if value < low else high
            said.append(f"{name} {value:.3g} {side} the training's {limit:.3g}")
    return said


def _stain(crop: UInt8Array) -> tuple[float, float]:
    """Mean optical density of a crop against its brightest part; red's share of it."""
    pixels = crop.reshape(-1, 3).astype(np.float64) + 1
    bright = np.percentile(pixels, _BRIGHT, axis=0)
    density = np.maximum(np.log10(bright / pixels), 0).mean(axis=0)
    total = float(density.sum())
    return total, float(density[0] / total) if total > 0 else np.nan
