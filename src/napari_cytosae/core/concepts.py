"""Which concepts matter: in an image, in the selected cells, in one patch.

All statistics come from the stored entries of the sparse activations; nothing of the size
cells x concepts is ever made dense.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core._annotation import Annotation
from napari_cytosae.core._location import PLACES, location, mask_fractions
from napari_cytosae.core._names import ConceptNames

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from scipy.sparse import csr_array

    from napari_cytosae.core.types import BoolArray, ConceptActivations

    Float64Array = npt.NDArray[np.float64]

__all__ = [
    "ALWAYS_ON",
    "BACKGROUND",
    "PLACES",
    "RANKING_COLUMNS",
    "Annotation",
    "ConceptNames",
    "Summary",
    "flags",
    "location",
    "mask_fractions",
    "patch_ranking",
    "ranking",
    "summarise",
]

RANKING_COLUMNS = ("concept", "name", "here", "prevalence", "specificity")
"""Columns of a ranking, in order."""

ALWAYS_ON = 0.9
"""Prevalence above which a concept says nothing about a cell."""

MIN_CELLS = 10
"""With fewer cells in view, a concept in all of them may still be rare."""

UNSTABLE = 0.5
"""Stability below which a concept is named with care."""

BACKGROUND = 0.5
"""Share of a concept's activation outside the cells above which it is background."""


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """A concept's statistics over all cells of an image: what rankings compare with.

    Attributes
    ----------
    n_cells : int
    prevalence : ndarray of float64, (d_sae,)
        Share of cells in which at least one patch is over the threshold.
    mean, spread : ndarray of float64, (d_sae,)
        Mean and standard deviation (of the population) of the per-cell mean activation.
    max_spread : ndarray of float64, (d_sae,)
        Standard deviation of the per-cell maximum.
    """

    n_cells: int
    prevalence: Float64Array
    mean: Float64Array
    spread: Float64Array
    max_spread: Float64Array


def summarise(activations: ConceptActivations) -> Summary:
    """Statistics of all concepts over all cells, once for many rankings."""
    n = len(activations)
    mean, spread = _moments(activations.mean, n)
    _, max_spread = _moments(activations.max, n)
    present = activations.n_patches
    counts = np.bincount(present.indices[present.data >= 1], minlength=present.shape[1])
    return Summary(n, counts / max(n, 1), mean, spread, max_spread)


def ranking(
    activations: ConceptActivations,
    rows: npt.ArrayLike | None = None,
    names: Mapping[int, str] | None = None,
    summary: Summary | None = None,
) -> pd.DataFrame:
    """Concepts of an image, or of some of its cells, the strongest first.

    Specificity is an effect size in standard deviations over all cells. For a selection it
    is (mean of the selection - mean of the rest) / spread: positive where the selection
    has more of the concept than the other cells, and bounded (a concept that fires in one
    of n cells alone reaches n / sqrt(n - 1)). For a whole image there is no rest; there it
    is spread / mean: 0 for a concept that is the same in all cells, sqrt(n - 1) for one
    that fires in a single cell.

    Parameters
    ----------
    activations : ConceptActivations
        All cells of the image.
    rows : array_like of int or of bool, optional
        The selected cells; None or all of them is the whole image.
    names : mapping from concept to name, optional
        Concepts without one get an empty name.
    summary : Summary, optional
        Of `activations`, where it is at hand.

    Returns
    -------
    DataFrame
        `RANKING_COLUMNS`; one row a concept that fires in the selection. `here` is the
        mean over the selected cells of the mean activation over patches, `prevalence` the
        share of all cells with a patch over the threshold, `specificity` NaN where there
        is but one cell.
    """
    summary = summary or summarise(activations)
    n = summary.n_cells
    index = np.arange(n) if rows is None else np.asarray(rows)
    selected = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
    k = len(selected)
    if k == n:
        here = summary.mean
        specificity = _ratio(summary.spread, summary.mean)
    else:
        part = activations.mean[selected]
        here = _column_sums(part, part.data) / max(k, 1)
        rest = (summary.mean * n - here * k) / (n - k)
        specificity = _ratio(here - rest, summary.spread)
    return _table(here, specificity, summary, names)


def patch_ranking(
    latents: npt.ArrayLike,
    summary: Summary,
    names: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Concepts of one patch, the strongest first.

    Parameters
    ----------
    latents : array_like, (d_sae,) or (1, d_sae)
        SAE activations of the patch's token.
    summary : Summary
        Of the image the patch is in.
    names : mapping from concept to name, optional
        Concepts without one get an empty name.

    Returns
    -------
    DataFrame
        As `ranking`; `here` is the activation in the patch, and `specificity` is
        (activation - mean over all patches of all cells) / spread of the cells' maxima.
    """
    here = np.asarray(latents, dtype=np.float64).reshape(-1)
    return _table(here, _ratio(here - summary.mean, summary.max_spread), summary, names)


def flags(
    table: pd.DataFrame,
    n_cells: int,
    where: pd.DataFrame | None = None,
    mean_acts: npt.ArrayLike | None = None,
    magnitude: float = 0.1,
    stability: pd.DataFrame | None = None,
) -> pd.Series[str]:
    """Why a concept may be of no use to a reader, for each row of a ranking.

    ``always-on`` fires in over 90 % of at least `MIN_CELLS` cells, ``background`` has
    most of its activation outside the cells, ``high magnitude`` has a mean activation
    over `magnitude` in a catalogue (the reference's filter, which also hits strong
    selective concepts), ``unstable`` changes with a small shift, turn or stain.

    Parameters
    ----------
    table : DataFrame
        A ranking.
    n_cells : int
        Cells that its prevalence rests on.
    where : DataFrame, optional
        Of `location`; without it no concept is called background.
    mean_acts : array_like, (d_sae,), optional
        Mean activation of each concept in a catalogue.
    magnitude : float
        Limit for `mean_acts`.
    stability : DataFrame, optional
        Of `core.stability.measure_stability`.

    Returns
    -------
    Series of str
        Reasons joined by ``; ``, empty where there are none; index as `table`.
    """
    concept = table["concept"].to_numpy()
    always = (table["prevalence"].to_numpy() > ALWAYS_ON) & (n_cells >= MIN_CELLS)
    tests: dict[str, BoolArray] = {"always-on": always}
    if mean_acts is not None:
        tests["high magnitude"] = np.asarray(mean_acts)[concept] > magnitude
    if where is not None:
        outside = where["outside"].reindex(concept).to_numpy(dtype=float)
        tests["background"] = outside > BACKGROUND
    if stability is not None:
        known = stability["stability"].reindex(concept).to_numpy(dtype=float)
        tests["unstable"] = known < UNSTABLE
    text = [
        "; ".join(flag for flag, hit in tests.items() if hit[row])
        for row in range(len(table))
    ]
    return pd.Series(text, index=table.index, name="flags", dtype=str)


def _table(
    here: Float64Array,
    specificity: Float64Array,
    summary: Summary,
    names: Mapping[int, str] | None,
) -> pd.DataFrame:
    if summary.n_cells < 2:
        # There is nothing to differ from.
        specificity = np.full_like(specificity, np.nan)
    concept = np.flatnonzero(here > 0)
    # Ties keep the order of the ids, so that equal input gives equal tables.
    concept = concept[np.argsort(-here[concept], kind="stable")]
    known = names or {}
    return pd.DataFrame(
        {
            "concept": concept,
            "name": [known.get(int(index), "") for index in concept],
            "here": here[concept],
            "prevalence": summary.prevalence[concept],
            "specificity": specificity[concept],
        }
    )


def _moments(matrix: csr_array, n: int) -> tuple[Float64Array, Float64Array]:
    """Mean and standard deviation of each column, zeros counted."""
    data = matrix.data.astype(np.float64)
    mean = _column_sums(matrix, data) / max(n, 1)
    # Around the mean: the textbook difference of squares loses constant columns.
    around = _column_sums(matrix, (data - mean[matrix.indices]) ** 2)
    stored = np.bincount(matrix.indices, minlength=matrix.shape[1])
    variance = (around + (n - stored) * mean**2) / max(n, 1)
    return mean, np.sqrt(variance)


def _column_sums(matrix: csr_array, data: npt.NDArray[np.floating]) -> Float64Array:
    sums = np.bincount(matrix.indices, weights=data, minlength=matrix.shape[1])
    return sums.astype(np.float64, copy=False)


def _ratio(numerator: Float64Array, spread: Float64Array) -> Float64Array:
    """Numerator / spread, 0 where nothing differs."""
    differs = spread > 1e-9 * np.abs(numerator)
    return np.divide(numerator, spread, out=np.zeros_like(numerator), where=differs)
