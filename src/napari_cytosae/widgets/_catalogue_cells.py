"""The cells that drive a concept in the catalogues that are open; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cytosae.core.types import ImageError, Progress
from napari_cytosae.widgets._thumbnails import Drawn, Thumbnail

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueWork:
    """What `fill_from_catalogues` needs.

    Attributes
    ----------
    catalogues : mapping of data set to Catalogue
    concept : int
    models : Models or None
        Of the catalogues' SAE; without them nothing is drawn into the cells.
    colour : str
        In which the concept is drawn into the cells; empty where it is not.
    """

    catalogues: Mapping[str, Catalogue]
    concept: int
    models: Models | None = None
    colour: str = ""


def fill_from_catalogues(
    work: CatalogueWork,
) -> Generator[Progress, None, tuple[Thumbnail, ...]]:
    """The top images of a concept, data set by data set, the strongest first.

    An image whose file is here is shown with the activation in its patches; of another one
    there is the label.
    """
    yield Progress("Looking for cells", 0, 0)
    listed: list[tuple[str, str, str, float, UInt8Array | None]] = []
    for name, each in work.catalogues.items():
        files = each.files(work.concept)
        for (image, label, value), file in zip(
            each.describe(work.concept).top, files, strict=True
        ):
            listed.append((name, image, label, value, _pixels(file)))
    crops = [crop for *_, crop in listed if crop is not None]
    grids: list[Float32Array] = []
    top = 0.0
    if crops and work.colour and work.models is not None:
        from napari_cytosae.core import pipeline
        from napari_cytosae.core.cache import open_cache
        from napari_cytosae.core.overlay import robust_scale

        encoded = yield from pipeline.encode(work.models, crops, cache=open_cache())
        drawn = work.models.concept_grids(encoded, [work.concept])[0]
        grids, top = list(drawn), robust_scale(drawn)[1]
    thumbnails = []
    lit = iter(grids)
    for number, (name, image, label, value, crop) in enumerate(listed):
        about = f"{name}: {label or 'no label'}, {image}; mean activation {value:.3g}"
        draw = None
        if crop is not None and top:
            patches = Drawn(next(lit), top, work.colour)
            draw = lambda patches=patches: patches  # noqa: E731
        thumbnails.append(
            Thumbnail((name, number), crop, f"{value:.2g}", about, draw, label or image)
        )
    return tuple(thumbnails)


def _pixels(file: Path | None) -> UInt8Array | None:
    """The image, or None where it is not here or cannot be read."""
    if file is None:
        return None
    from napari_cytosae.core.images import read_image

    try:
        return read_image(file).rgb
    except ImageError:
        return None
