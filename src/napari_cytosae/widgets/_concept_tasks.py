"""What the dock has done with encoded cells: generators over `core`, no Qt, no napari.

Ranking and overlays; they run in a worker's thread, as those of `_tasks` do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import Progress
from napari_cytosae.widgets._concept_rows import NOWHERE, ConceptRows

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.concepts import Annotation, Summary
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import (
        ConceptActivations,
        Encoded,
        Float32Array,
    )
    from napari_cytosae.core.whereabouts import Locator
    from napari_cytosae.widgets._scopes import Part

LOCATED = 1024
"""Concepts of which it is worked out at a time where they fire."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnOverlay:
    """One concept's map, ready for a layer."""

    concept: int
    smooth: bool
    grids: Float32Array
    data: Any
    top: float


@dataclass(frozen=True, slots=True, eq=False)
class RankingWork:
    """What `rank` needs, read from the session before it starts.

    Attributes
    ----------
    parts : sequence of Part
        The cells to rank by and those that they are compared with, of each image.
    patch : (row, column) or None
        Rank by this patch of the first cell of `encoded` that is ranked by.
    shared : bool
        Rank by what most of the cells have in common, as the search by example does.
    summary : Summary or None
        Of all cells of `parts`, once it is known.
    where : DataFrame or None
        Of `locate`, once it is known.
    classes : DataFrame or None
        Of `core.class_labels.describe_classes`.
    mean_acts : ndarray of float, (d_sae,), or None
        Of the first catalogue.
    stability : DataFrame or None
        Of `core.stability.measure_stability`.
    """

    models: Models
    encoded: Encoded
    annotations: dict[int, Annotation]
    parts: Sequence[Part]
    patch: tuple[int, int] | None
    summary: Summary | None
    where: pd.DataFrame | None
    classes: pd.DataFrame | None = None
    mean_acts: npt.NDArray[np.float32] | None = None
    stability: pd.DataFrame | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Result of `rank`: rows for the table, the strongest concept first.

    `table` has what they are made of by `listed`; `summary` is of all cells that count.
    """

    rows: ConceptRows
    table: pd.DataFrame
    summary: Summary


def draw_overlays(
    models: Models,
    encoded: Encoded,
    shape: tuple[int, int],
    wanted: Sequence[tuple[int, bool]],
    grids: dict[int, Float32Array],
) -> Generator[Progress, None, list[DrawnOverlay]]:
    """Maps of concepts over the slide.

    Parameters
    ----------
    models : Models
        That made `encoded`.
    encoded : Encoded
        With its tokens.
    shape : (int, int)
        Of the image.
    wanted : sequence of (int, bool)
        Concept and whether to interpolate between patches.
    grids : dict of int to ndarray of float32, (n, grid, grid)
        Patch activations that are there already.
    """
    from napari_cytosae.core.overlay import OverlayMap, robust_scale

    yield Progress("Drawing overlays", 0, len(wanted), "overlays")
    missing = [concept for concept, _ in wanted if concept not in grids]
    known = dict(grids)
    if missing:
        computed = models.concept_grids(encoded, missing)
        known.update(zip(missing, computed, strict=True))
    drawn = []
    for done, (concept, smooth) in enumerate(wanted, 1):
        overlay = OverlayMap(known[concept], encoded.boxes, shape, smooth=smooth)
        top = robust_scale(known[concept])[1]
        data = overlay.layer_data()
        drawn.append(DrawnOverlay(concept, smooth, known[concept], data, top))
        yield Progress("Drawing overlays", done, len(wanted), "overlays")
    return drawn


def rank(work: RankingWork) -> Generator[Progress, None, Ranked]:
    """Concepts of the rows, or of one patch, the strongest first."""
    from napari_cytosae.core.concepts import patch_ranking, ranking, summarise
    from napari_cytosae.core.enrichment import compare, enriched

    yield Progress("Ranking", 0, 0, "concepts")
    activations, rows = pooled(work.parts)
    summary = work.summary or summarise(activations)
    if work.patch is None:
        table = ranking(activations, rows, summary=summary)
    else:
        latents = _latents_of_patch(work, int(work.parts[0].chosen[0]), work.patch)
        table = patch_ranking(latents, summary)
    if work.shared:
        # The very weights that the gallery's order rests on; what is not shared has none.
        weights = enriched(activations.mean, rows, limit=activations.mean.shape[1])
        table["specificity"] = table["concept"].map(weights)
    if work.classes is not None:
        table["class"] = work.classes["text"].reindex(table["concept"]).to_numpy()
    if work.patch is None and 0 < len(rows) < len(activations):
        compared = compare(activations.mean, rows)
        table["fdr"] = compared["fdr"].reindex(table["concept"]).to_numpy()
    return Ranked(_rows(work, table, summary), table, summary)


def list_again(work: RankingWork, ranked: Ranked) -> Generator[Progress, None, Ranked]:
    """The same ranking, with what is known by now of where its concepts fire."""
    yield Progress("Listing", 0, 0, "concepts")
    return replace(ranked, rows=_rows(work, ranked.table, ranked.summary))


def _rows(work: RankingWork, table: pd.DataFrame, summary: Summary) -> ConceptRows:
    """A ranking as it is shown."""
    from napari_cytosae.core.concepts import PLACES, flags

    shares = work.where
    flagged = flags(
        table, summary.n_cells, shares, work.mean_acts, stability=work.stability
    )
    listed = table.assign(where="", flags=flagged)
    if shares is not None:
        found = shares.reindex(table["concept"])
        # Located, yet nowhere: in tokens rounded to be kept it does not fire any more.
        listed["where"] = found["where"].replace("", NOWHERE).fillna("").to_numpy()
        for place in PLACES:
            listed[place] = found[place].to_numpy(float)
    return ConceptRows.of(listed).said(work.annotations)


def rank_catalogue(
    catalogue: Catalogue, classes: pd.DataFrame | None, said: dict[int, Annotation]
) -> Generator[Progress, None, ConceptRows]:
    """Concepts as they fire in a catalogue, the strongest first: no cells are needed.

    `here` is the catalogue's mean activation, `prevalence` its share of images.
    """
    import numpy as np
    import pandas as pd

    from napari_cytosae.core.concepts import MIN_CELLS, flags

    yield Progress("Listing the catalogue", 0, 0, "concepts")
    fires = np.flatnonzero(catalogue.sparsity > 0)
    fires = fires[np.argsort(-catalogue.mean_acts[fires], kind="stable")]
    table = pd.DataFrame(
        {
            "concept": fires,
            "name": "",
            "here": catalogue.mean_acts[fires].astype(float),
            "prevalence": catalogue.sparsity[fires].astype(float),
            "specificity": np.nan,
            "where": "",
        }
    )
    # It is of many images: what fires in nearly all of them is always on.
    table["flags"] = flags(table, MIN_CELLS, mean_acts=catalogue.mean_acts)
    if classes is not None:
        table["class"] = classes["text"].reindex(fires).to_numpy()
    return ConceptRows.of(table).said(said)


def pooled(parts: Sequence[Part]) -> tuple[ConceptActivations, npt.NDArray[np.int64]]:
    """The cells that count, of all images as those of one, and which are ranked by."""
    import numpy as np

    from napari_cytosae.core.encoded_cells import concatenate_activations, some_activations

    chosen = np.concatenate([np.isin(part.shown, part.chosen) for part in parts])
    of_images = [
        part.activations
        if len(part.shown) == len(part.activations)
        else some_activations(part.activations, part.shown)
        for part in parts
    ]
    joined = of_images[0] if len(parts) == 1 else concatenate_activations(of_images)
    return joined, np.flatnonzero(chosen).astype(np.int64)


def _latents_of_patch(
    work: RankingWork, row: int, patch: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Activations (d_sae,) in one patch, of the concepts that fire anywhere in its cell."""
    import numpy as np

    strongest = work.encoded.activations.max
    present = strongest[[row]].indices.tolist()
    latents = np.zeros(strongest.shape[1], np.float32)
    if present:
        cell = some_cells(work.encoded, slice(row, row + 1))
        grids = work.models.concept_grids(cell, present)
        latents[present] = grids[:, 0, patch[0], patch[1]]
    return latents


def locate(
    locator: Locator, first: Sequence[int], others: Sequence[int], seconds: float
) -> Generator[Progress, None, None]:
    """Where concepts fire, `first` before the others, until so many seconds are over.

    The partial result of each step is of `core.concepts.location`.
    """
    began = time.monotonic()
    starts = range(0, len(others), LOCATED)
    blocks = [first, *(others[start : start + LOCATED] for start in starts)]
    for block in filter(None, blocks):
        found = yield from locator.locate(block)
        yield Progress("Locating", len(block), len(block), "concepts", partial=found)
        if time.monotonic() - began > seconds:
            return


def some_cells(encoded: Encoded, only: slice | npt.NDArray[np.int64]) -> Encoded:
    """Some of the encoded cells, in the order asked for."""
    from napari_cytosae.core.encoded_cells import rows

    return rows(encoded, only)
