"""Smears as the single-cell images that a catalogue is built of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PillowImage

from napari_cytosae.core.crops import crop_cells
from napari_cytosae.core.detection import find_cells
from napari_cytosae.core.files import atomic_folder
from napari_cytosae.core.pyramid import open_image
from napari_cytosae.core.types import CytoError, OutputError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import CellKind, Image

FOLDER = "crops"
"""Of a catalogue; holds a folder a smear, with an image a cell."""


@dataclass(frozen=True, slots=True)
class SmearCrops:
    """Result of `write_crops`.

    Attributes
    ----------
    images : list of (path, label)
        The cells, each with its smear's label; as of `catalogue.labelled_images`.
    skipped : list of str
        Why smears were left out.
    """

    images: list[tuple[Path, str]]
    skipped: list[str]


def write_crops(
    smears: Sequence[tuple[Path, str]],
    folder: Path | str,
    kinds: Sequence[CellKind] = ("wbc",),
    pixel_size: float | None = None,
) -> Generator[Progress, None, SmearCrops]:
    """Find the cells of smears and write each as an image, cut out as for the models.

    The pixels are those that `analyze` encodes. A smear whose cells were written before,
    found in the same way, is not segmented again.

    Parameters
    ----------
    smears : sequence of (path, label)
        Of `catalogue.labelled_images`.
    folder : path-like
        Of the catalogue.
    kinds : sequence of CellKind
        To look for.
    pixel_size : float, optional
        In um; wins over the files.

    Yields
    ------
    Progress
        Before each smear.

    Raises
    ------
    OutputError
        If the cells cannot be written.
    """
    made = SmearCrops([], [])
    for done, (path, label) in enumerate(smears):
        yield Progress("Cutting out cells", done, len(smears), "images")
        try:
            with open_image(path, pixel_size) as image:
                place = Path(folder) / FOLDER / _place(path, image, kinds, pixel_size)
                if not place.is_dir():
                    yield from _write(image, path.stem, place, kinds)
        except OutputError:
            raise
        except CytoError as error:
            made.skipped.append(str(error))
            continue
        made.images.extend((cell, label) for cell in sorted(place.glob("*.png")))
    return made


def _place(
    path: Path,
    image: Image | Pyramid,
    kinds: Sequence[CellKind],
    pixel_size: float | None,
) -> str:
    """Name of a smear's folder: another one for other pixels, kinds or pixel sizes."""
    said = json.dumps([image.sha256, sorted(kinds), pixel_size])
    return f"{path.stem}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _write(
    image: Image | Pyramid, stem: str, place: Path, kinds: Sequence[CellKind]
) -> Generator[Progress, None, None]:
    cells = yield from find_cells(image, kinds=kinds)
    crops = crop_cells(image, cells)
    digits = len(str(max(crops.cell_ids.tolist(), default=0)))
    with atomic_folder(place) as temporary:
        for cell_id, crop in zip(crops.cell_ids.tolist(), crops, strict=True):
            name = f"{stem}_{cell_id:0{digits}}.png"
            PillowImage.fromarray(crop).save(temporary / name)
