"""What the dock has done with encoded cells: generators over `core`, no Qt, no napari.

Ranking and overlays; they run in a worker's thread, as those of `_tasks` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import Progress
from napari_cytosae.widgets._concept_rows import ConceptRows

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.concepts import Annotation, Summary
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import (
        Cells,
        ConceptActivations,
        Encoded,
        Float32Array,
    )

LOCATED = 512
"""Of how many concepts, the strongest of each ranking, it is worked out where they fire."""


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
    rows : ndarray of int64
        Rows of `encoded` to rank by.
    patch : (row, column) or None
        Rank by this patch of the first of `rows`.
    pool : sequence of (ConceptActivations, ndarray of int64)
        Several images and the rows of each to rank by, against all of their other cells;
        empty: only `encoded`.
    shared : bool
        Rank by what most of the rows have in common, as the search by example does.
    summary : Summary or None
        Of `encoded`, once it is known.
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
    rows: npt.NDArray[np.int64]
    patch: tuple[int, int] | None
    summary: Summary | None
    where: pd.DataFrame | None
    classes: pd.DataFrame | None = None
    mean_acts: npt.NDArray[np.float32] | None = None
    stability: pd.DataFrame | None = None
    pool: Sequence[tuple[ConceptActivations, npt.NDArray[np.int64]]] = ()
    shared: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Result of `rank`: rows for the table, the strongest concept first.

    `summary` is that of `RankingWork.encoded`; None where several images were ranked by.
    """

    rows: ConceptRows
    summary: Summary | None


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
    from napari_cytosae.core.concepts import flags, patch_ranking, ranking, summarise
    from napari_cytosae.core.enrichment import compare, enriched

    yield Progress("Ranking", 0, 0, "concepts")
    activations, rows = work.encoded.activations, work.rows
    if work.pool:
        activations, rows = _pooled(work.pool)
    known_summary = None if work.pool else work.summary
    summary = known_summary or summarise(activations)
    if work.patch is None:
        table = ranking(activations, rows, summary=summary)
    else:
        latents = _latents_of_patch(work, int(work.rows[0]), work.patch)
        table = patch_ranking(latents, summary)
    if work.shared:
        # The very weights that the gallery's order rests on; what is not shared has none.
        weights = enriched(activations.mean, rows, limit=activations.mean.shape[1])
        table["specificity"] = table["concept"].map(weights)
    known = None if work.where is None else work.where["where"]
    table["where"] = "" if known is None else table["concept"].map(known).fillna("")
    table["flags"] = flags(
        table, summary.n_cells, work.where, work.mean_acts, stability=work.stability
    )
    if work.classes is not None:
        table["class"] = work.classes["text"].reindex(table["concept"]).to_numpy()
    if work.patch is None and 0 < len(rows) < len(activations):
        compared = compare(activations.mean, rows)
        table["fdr"] = compared["fdr"].reindex(table["concept"]).to_numpy()
    listed = ConceptRows.of(table).said(work.annotations)
    return Ranked(listed, None if work.pool else summary)


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


def _pooled(
    pool: Sequence[tuple[ConceptActivations, npt.NDArray[np.int64]]],
) -> tuple[ConceptActivations, npt.NDArray[np.int64]]:
    """The cells of several images as those of one, and the rows among them."""
    import numpy as np

    from napari_cytosae.core.encoded_cells import concatenate_activations

    parts = [activations for activations, _ in pool]
    starts = np.cumsum([0, *map(len, parts)])
    rows = [start + rows for start, (_, rows) in zip(starts, pool, strict=False)]
    return concatenate_activations(parts), np.concatenate(rows)


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
    models: Models, encoded: Encoded, cells: Cells, concepts: Sequence[int]
) -> Generator[Progress, None, pd.DataFrame]:
    """Where concepts (at least one) fire: the result of `core.concepts.location`."""
    from napari_cytosae.core import whereabouts

    return (yield from whereabouts.locate(models, [(encoded, cells)], concepts))


def some_cells(encoded: Encoded, only: slice | npt.NDArray[np.int64]) -> Encoded:
    """Some of the encoded cells, in the order asked for."""
    from napari_cytosae.core.encoded_cells import rows

    return rows(encoded, only)
