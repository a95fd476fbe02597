"""What the dock has done in the background: generators over `core`, no Qt, no napari.

They run in a worker's thread. Heavy libraries are imported inside them, so that the dock
opens at once and the first job pays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import CytoError, Progress
from napari_cytosae.widgets._quiet import preload_torch

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from napari_cytosae.core.concepts import ConceptNames, Summary
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import (
        Cells,
        Crops,
        Encoded,
        Float32Array,
        Image,
        PixelSize,
    )
    from napari_cytosae.session import CellSettings, ModelChoice


@dataclass(frozen=True, slots=True, eq=False)
class LayerPixels:
    """What a layer holds, read on the GUI thread before a task starts.

    Attributes
    ----------
    data : array
    name : str
    path : str or None
        The file it came from.
    size : PixelSize
        By the layer's metadata or scale.
    """

    data: Any
    name: str
    path: str | None
    size: PixelSize


@dataclass(frozen=True, slots=True, eq=False)
class EncodedCells:
    """Result of `encode_cells`."""

    models: Models
    names: ConceptNames
    crops: Crops
    encoded: Encoded


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
    summary : Summary or None
        Of `encoded`, once it is known.
    """

    models: Models
    encoded: Encoded
    names: dict[int, str]
    rows: npt.NDArray[np.int64]
    patch: tuple[int, int] | None
    summary: Summary | None


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Result of `rank`."""

    table: pd.DataFrame
    summary: Summary


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What `export` writes."""

    image: Image
    cells: Cells
    crops: Crops
    encoded: Encoded
    models: Models
    names: dict[int, str]
    overlays: Sequence[int]
    source: dict[str, Any]


def open_image(pixels: LayerPixels) -> Generator[Progress, None, Image]:
    """The layer as an `Image`, with its pixel size and where that came from.

    A layer that still shows its file as it is on disk is that file: same name, same
    sha256 and same metadata as the command line would see.
    """
    import numpy as np

    from napari_cytosae.core.images import as_image, read_image

    yield Progress("Reading", 0, 0, "images")
    image = as_image(np.asarray(pixels.data), pixels.name)
    if pixels.path is not None and Path(pixels.path).is_file():
        try:
            on_disk = read_image(pixels.path)
        except CytoError:
            on_disk = None
        if on_disk is not None and np.array_equal(on_disk.rgb, image.rgb):
            image = on_disk
    yield Progress("Reading", 1, 2, "images")
    if image.pixel_size.um is None and pixels.size.um is not None:
        return replace(image, pixel_size=pixels.size)
    if image.pixel_size.um is None:
        from napari_cytosae.core.segmentation import estimate_pixel_size

        try:
            return replace(image, pixel_size=estimate_pixel_size(image.rgb))
        except CytoError:
            # No smear to measure on; the image may still be one cell, or have labels.
            return image
    return image


def find_cells(
    image: Image, settings: CellSettings, labels: npt.NDArray[Any] | None
) -> Generator[Progress, None, Cells]:
    """The cells of `image`, as `settings` say."""
    yield Progress("Loading the segmentation", 0, 0)
    from napari_cytosae.core import segmentation

    yield Progress("Segmenting", 0, 0)
    if settings.shows == "labels":
        if labels is None:
            raise CytoError("Choose the Labels layer that marks the cells.")
        return segmentation.measure(image, labels)
    if settings.shows == "single_cell":
        return segmentation.single_cell(image)
    return segmentation.segment(image, kinds=settings.kinds)


def load(choice: ModelChoice) -> Generator[Progress, None, tuple[Models, ConceptNames]]:
    """Load the chosen models and the analyst's names for their concepts."""
    yield Progress("Loading the models", 0, 0)
    preload_torch()
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.models import load_models

    models = load_models(
        choice.backbone,
        choice.sae,
        device=choice.device,  # type: ignore[arg-type]
        precision=choice.precision,  # type: ignore[arg-type]
    )
    return models, ConceptNames(models.sae_info.sha256, models.names)


def encode_cells(
    choice: ModelChoice,
    loaded: tuple[Models, ConceptNames] | None,
    image: Image,
    cells: Cells,
    field_of_view_um: float,
) -> Generator[Progress, None, EncodedCells]:
    """Encode all cells; loads the models first where that has not been done.

    The first `Progress.partial` is `EncodedCells` of no cell, the others are an `Encoded`
    each, so that `joined` can make a result of a cancelled run.
    """
    if loaded is None:
        loaded = yield from load(choice)
    from napari_cytosae.core import pipeline
    from napari_cytosae.core.crops import crop_cells

    models, names = loaded
    crops = crop_cells(image, cells, field_of_view_um)
    encoded = yield from _with_context(models, names, crops, pipeline.encode(models, crops))
    return EncodedCells(models, names, crops, encoded)


def _with_context(
    models: Models,
    names: ConceptNames,
    crops: Crops,
    steps: Generator[Progress, None, Encoded],
) -> Generator[Progress, None, Encoded]:
    yield Progress("Encoding", 0, len(crops), partial=(models, names, crops))
    return (yield from steps)


def joined(partials: Sequence[Any]) -> Generator[Progress, None, EncodedCells]:
    """What a cancelled or failed `encode_cells` had finished: at least one batch."""
    yield Progress("Keeping what is done", 0, 0)
    from napari_cytosae.core.encoding import concatenate

    models, names, crops = partials[0]
    encoded = replace(concatenate(list(partials[1:])), complete=False)
    return EncodedCells(models, names, crops, encoded)


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
    import numpy as np

    from napari_cytosae.core.concepts import patch_ranking, ranking, summarise

    yield Progress("Ranking", 0, 0, "concepts")
    summary = work.summary or summarise(work.encoded.activations)
    if work.patch is None:
        table = ranking(work.encoded.activations, work.rows, work.names, summary)
        return Ranked(table, summary)
    row = int(work.rows[0])
    present = work.encoded.activations.max[[row]].indices.tolist()
    latents = np.zeros(work.encoded.activations.max.shape[1], np.float32)
    if present:
        grids = work.models.concept_grids(one_cell(work.encoded, row), present)
        latents[present] = grids[:, 0, work.patch[0], work.patch[1]]
    return Ranked(patch_ranking(latents, summary, work.names), summary)


def one_cell(encoded: Encoded, row: int) -> Encoded:
    """One cell's tokens and gates; the activations stay those of all cells."""
    only = slice(row, row + 1)
    return replace(
        encoded,
        tokens=None if encoded.tokens is None else encoded.tokens[only],
        gates=None if encoded.gates is None else encoded.gates[only],
        boxes=encoded.boxes[only],
        cell_ids=encoded.cell_ids[only],
    )


def export(folder: Path, results: Results) -> Generator[Progress, None, Path]:
    """Write the files that ``napari-cytosae analyze`` writes for this image.

    Returns
    -------
    Path
        Folder of the image's results, inside `folder`.
    """
    yield Progress("Writing the results", 0, 0, "files")
    from napari_cytosae.core.export import provenance, result_folders, write_results
    from napari_cytosae.core.overlay import OverlayMap

    encoded, models, image = results.encoded, results.models, results.image
    overlays = {}
    if results.overlays:
        grids = models.concept_grids(encoded, results.overlays)
        shape = (image.rgb.shape[0], image.rgb.shape[1])
        overlays = {
            concept: OverlayMap(grid, encoded.boxes, shape)
            for concept, grid in zip(results.overlays, grids, strict=True)
        }
    record = provenance(
        [image],
        {
            **results.source,
            "pixel_size_um": results.cells.pixel_size.um,
            "pixel_size_source": results.cells.pixel_size.source,
            "image_notes": list(image.notes),
            "field_of_view_um": results.crops.field_of_view_um,
            "field_of_view_source": results.crops.pixel_size_source,
            "threshold": encoded.activations.threshold,
            "concepts": list(results.overlays),
            "device": models.device.type,
            "precision": models.precision,
            "complete": encoded.complete,
        },
        models.backbone_info,
        models.sae_info,
    )
    (target,) = result_folders(folder, [image.name])
    return write_results(target, results.cells, record, encoded, results.names, overlays)


def download(name: str) -> Generator[Progress, None, Any]:
    """Bring a named model to this machine."""
    from napari_cytosae.core import registry

    return (yield from registry.download(name))


def thumbnail_order(
    encoded: Encoded, rows: npt.NDArray[np.int64], concept: int | None
) -> npt.NDArray[np.int64]:
    """Rows of cells, those that drive the concept most first; silent ones left out."""
    import numpy as np

    if concept is None:
        return rows
    column = np.asarray(encoded.activations.max[:, [concept]].todense()).ravel()
    values = column[rows]
    order = np.argsort(-values, kind="stable")
    return rows[order[values[order] > 0]]
