"""One image from file to folder of results: what the command line and the demo drive."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.label_blocks import BLOCK
from napari_cytosae.core.types import ImageError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence
    from pathlib import Path

    from napari_cytosae.core._given import GivenLabels
    from napari_cytosae.core.cache import Cache
    from napari_cytosae.core.geojson import Outline
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.overlay import OverlayMap
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import (
        CellKind,
        Cells,
        Crops,
        Encoded,
        Image,
        Int32Array,
    )


@dataclass(frozen=True, slots=True, eq=False)
class CellSource:
    """Where the cells of an image come from.

    Attributes
    ----------
    kinds : tuple of CellKind
        To be found by segmentation, where neither of the others holds.
    labels : ndarray of int32, (H, W), or GivenLabels, or None
        Cells as somebody outlined them; of a slide read lazily.
    outlines : tuple of Outline
        The same as polygons; drawn when the image is there, on a slide piece by piece.
    classes : mapping of int to str
        What the cells of `labels` were called by whom they were outlined.
    labels_name : str
        File of `labels` or `outlines`.
    single_cell : bool
        The whole image is one cell.
    """

    kinds: tuple[CellKind, ...] = ("wbc",)
    labels: Int32Array | GivenLabels | None = None
    outlines: tuple[Outline, ...] = ()
    classes: Mapping[int, str] = field(default_factory=dict)
    labels_name: str = ""
    single_cell: bool = False

    def of(self, image: Image | Pyramid) -> CellSource:
        """Draw the outlines, if there are any, on the pixels of `image`.

        Raises
        ------
        ImageError
            If none of them lies on it.
        """
        if not self.outlines:
            return self
        from napari_cytosae.core.geojson import DrawnOutlines
        from napari_cytosae.core.pyramid import Pyramid

        drawn = DrawnOutlines(self.outlines, image.shape)
        if not drawn.reach_image():
            (height, width), (x0, y0, x1, y1) = image.shape, drawn.box()
            size = f"{width} x {height} px"
            raise ImageError(
                f"No outline of {self.labels_name} lies on {image.name} ({size}): they lie "
                f"at x {x0} to {x1}, y {y0} to {y1}; give them in pixels of this image."
            )
        labels = drawn if isinstance(image, Pyramid) else drawn[:, :]
        return replace(self, labels=labels, outlines=(), classes=drawn.classes)

    def find(self, image: Image | Pyramid) -> Generator[Progress, None, Cells]:
        """Find the cells of `image`."""
        from napari_cytosae.core.detection import find_cells

        return find_cells(
            image,
            kinds=self.kinds,
            labels=self.labels,
            classes=self.classes,
            single_cell=self.single_cell,
        )

    def as_parameters(self) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        if self.labels is not None:
            import numpy as np

            digest, (height, width) = hashlib.sha256(), self.labels.shape
            for y in range(0, height, BLOCK):
                strip = self.labels[y : min(y + BLOCK, height), 0:width]
                digest.update(np.asarray(strip, np.int32).tobytes())
            sha256 = digest.hexdigest()
            return {"cells": "labels", "labels": self.labels_name, "labels_sha256": sha256}
        if self.single_cell:
            return {"cells": "single cell"}
        return {"cells": "segmentation", "kinds": list(self.kinds)}


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What `analyze_image` has made and written."""

    cells: Cells
    crops: Crops
    encoded: Encoded
    names: Mapping[int, str]
    overlays: Mapping[int, OverlayMap]


def segment_image(
    image: Image | Pyramid, folder: Path, source: CellSource
) -> Generator[Progress, None, Cells]:
    """Find the cells of `image` and write them to `folder`.

    Raises
    ------
    OutputError
        If `folder` cannot be written or holds other files.
    """
    yield Progress("Segmenting", 0, 0)
    from napari_cytosae.core.export import provenance, write_results

    cells = yield from source.find(image)
    yield Progress("Writing", 0, 0)
    write_results(folder, cells, provenance([image], _parameters(image, cells, source)))
    return cells


def analyze_image(
    image: Image | Pyramid,
    folder: Path,
    source: CellSource,
    models: Models,
    threshold: float = 0.2,
    concepts: Sequence[int] | Callable[[Cells, Encoded], Sequence[int]] = (),
    extras: Collection[str] = (),
    cache: Cache | None = None,
) -> Generator[Progress, None, Report]:
    """Find and encode the cells of `image`, and write all results to `folder`.

    Parameters
    ----------
    image : Image or Pyramid
        The smear, single cell or slide.
    folder : Path
        Replaced when it holds results of an earlier run.
    source : CellSource
        How its cells are found.
    models : Models
        What encodes them.
    threshold : float
        Activation above which a patch counts.
    concepts : sequence of int, or callable
        Whose overlays are written too; a callable chooses them from the activations.
    extras : collection of str
        Of `core.types.EXTRAS`, written beside the files of the contract.
    cache : Cache, optional
        Of encoded cells.

    Raises
    ------
    CytoError
        If `models` has no such concept, or memory does not suffice.
    OutputError
        If `folder` cannot be written or holds other files.
    """
    import numpy as np

    from napari_cytosae.core import pipeline
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.export import provenance, write_results
    from napari_cytosae.core.extras import Written, write_extras
    from napari_cytosae.core.overlay import OverlayMap

    source = source.of(image)
    found = yield from pipeline.analyze_image(
        image,
        models,
        kinds=source.kinds,
        labels=source.labels,
        classes=source.classes,
        single_cell=source.single_cell,
        threshold=threshold,
        keep_tokens=bool(concepts),
        cache=cache,
    )
    cells, crops, encoded = found.cells, found.crops, found.encoded
    yield Progress("Writing", 0, 0)
    chosen = concepts(cells, encoded) if callable(concepts) else concepts
    # Of no cells there are no tokens to make a map from: the empty map needs none.
    grids = np.zeros((len(chosen), 0, models.grid, models.grid), np.float32)
    if chosen and len(encoded):
        grids = models.concept_grids(encoded, chosen)
    overlays = {
        concept: OverlayMap(grid, encoded.boxes, cells.labels.shape)
        for concept, grid in zip(chosen, grids, strict=True)
    }
    names = ConceptNames(models.sae_info.sha256, models.names).as_dict()
    parameters = _parameters(image, cells, source) | {
        "field_of_view_um": crops.field_of_view_um,
        "field_of_view_source": crops.pixel_size_source,
        "threshold": threshold,
        "concepts": list(chosen),
        "device": models.device.type,
        "precision": models.precision,
    }
    record = provenance([image], parameters, models.backbone_info, models.sae_info)
    results = Written(image, cells, crops, encoded, record, names, overlays)

    def more(place: Path) -> None:
        write_extras(place, extras, results)

    write_results(folder, cells, record, encoded, names, overlays, more)
    return Report(cells, crops, encoded, names, overlays)


def _parameters(image: Image | Pyramid, cells: Cells, source: CellSource) -> dict[str, Any]:
    return {
        **source.as_parameters(),
        "pixel_size_um": cells.pixel_size.um,
        "pixel_size_source": cells.pixel_size.source,
        "image_notes": [*image.notes, *cells.notes],
    }
