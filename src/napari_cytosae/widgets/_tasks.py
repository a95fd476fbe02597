"""What the dock has done in the background: generators over `core`, no Qt, no napari.

They run in a worker's thread. Heavy libraries are imported inside them, so that the dock
opens at once and the first job pays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.drawn import DRAWN
from napari_cytosae.core.types import LARGE_PIXELS, CytoError, Progress
from napari_cytosae.widgets._quiet import preload_torch

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy.typing as npt
    import pandas as pd

    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.correction import Box, Correction
    from napari_cytosae.core.image_training import TrainedSae
    from napari_cytosae.core.inventory import FoundModel
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.training_task import ImageTraining
    from napari_cytosae.core.types import (
        CellKind,
        Cells,
        Crops,
        Encoded,
        Image,
        PixelSize,
    )
    from napari_cytosae.session_values import CellSettings, ModelChoice


@dataclass(frozen=True, slots=True, eq=False)
class LayerPixels:
    """What a layer holds, read on the GUI thread before a task starts.

    Attributes
    ----------
    levels : tuple of array
        The finest first; but one where it is no pyramid.
    name : str
    path : str or None
        The file it came from.
    size : PixelSize
        By the layer's metadata or scale.
    rgb : bool
        Whether the last axis is colour; a layer shows it as rows or columns otherwise.
    known : Image or None
        What it was read as before, with the file's name and sha256.
    drawn : bool
        A built-in sample.
    """

    levels: tuple[Any, ...]
    name: str
    path: str | None
    size: PixelSize
    rgb: bool
    known: Image | None = None
    drawn: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class EncodedCells:
    """Result of `encode_cells`."""

    models: Models
    names: ConceptNames
    crops: Crops
    encoded: Encoded
    trouble: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """Result of `correct_cells`: the labels as they were painted, and what came of them."""

    painted: npt.NDArray[Any]
    correction: Correction


def open_image(pixels: LayerPixels) -> Generator[Progress, None, Image | Pyramid]:
    """The layer as an `Image`, with its pixel size and where that came from.

    Beyond `LARGE_PIXELS` it is a `Pyramid`, of which nothing is read before it is needed.

    A layer that still shows its file as it is on disk is that file: same name, same
    sha256 and same metadata as the command line would see.
    """
    import numpy as np

    from napari_cytosae.core._level import read
    from napari_cytosae.core.images import as_image, read_image

    yield Progress("Reading", 0, 0, "images")
    if pixels.known is not None:
        # What an analyst typed can be taken back; the session remembers it.
        typed = pixels.known.pixel_size.source == "user"
        return replace(pixels.known, pixel_size=pixels.size) if typed else pixels.known
    name = pixels.name if pixels.path is None else Path(pixels.path).name
    finest = pixels.levels[0]
    if not pixels.rgb and len(finest.shape) > 2:
        sides = " x ".join(map(str, finest.shape))
        raise CytoError(
            f"{name} is a stack of {sides} without colour; "
            "choose a flat layer, or add it again as an RGB image if an axis is colour."
        )
    if finest.shape[0] * finest.shape[1] > LARGE_PIXELS and finest.dtype == np.uint8:
        return _slide(pixels, name)
    image = as_image(read(finest), name)
    if pixels.drawn:
        image = replace(image, notes=(*image.notes, DRAWN))
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


def _slide(pixels: LayerPixels, name: str) -> Pyramid:
    """A layer too large to be copied; its file says what the layer does not."""
    from napari_cytosae.core._level import Level
    from napari_cytosae.core.pyramid import Pyramid, open_image
    from napari_cytosae.core.slides import scale_of

    axes = "YXS" if pixels.rgb else "YX"
    slide = Pyramid.of([Level(level, axes) for level in pixels.levels], name, pixels.size)
    if pixels.path is not None and Path(pixels.path).exists():
        try:
            with open_image(pixels.path) as on_disk:
                if on_disk.shape == slide.shape:
                    size = on_disk.pixel_size if on_disk.pixel_size.um else pixels.size
                    slide = replace(slide, pixel_size=size, sha256=on_disk.sha256)
        except CytoError:
            pass  # not the layer's file after all
    if slide.pixel_size.um is not None:
        return slide
    try:
        return replace(slide, pixel_size=scale_of(slide)[0])
    except CytoError:
        return slide


def find_cells(
    image: Image | Pyramid, settings: CellSettings, labels: Any
) -> Generator[Progress, None, Cells]:
    """The cells of `image`, as `settings` say; `labels` as the layer has them, or None."""
    yield Progress("Loading the segmentation", 0, 0)
    import numpy as np

    from napari_cytosae.core import detection
    from napari_cytosae.core.types import Image

    if settings.shows == "labels":
        if labels is None:
            raise CytoError("Choose the Labels layer that marks the cells.")
        if isinstance(image, Image):
            # A copy: the analyst may go on painting.
            labels = np.array(labels)
    return (
        yield from detection.find_cells(
            image,
            kinds=settings.kinds,
            labels=labels if settings.shows == "labels" else None,
            single_cell=settings.shows == "single_cell",
        )
    )


def preview_cells(
    image: Image | Pyramid, box: tuple[int, int, int, int], kinds: Sequence[CellKind]
) -> Generator[Progress, None, Cells]:
    """The cells of a part of `image` (``y0, x0, y1, x1``), as `segment` finds them."""
    yield Progress("Previewing", 0, 0)
    from napari_cytosae.core.detection import part_of
    from napari_cytosae.core.segmentation import segment

    return segment(part_of(image, *box), kinds=kinds)


def describe_shapes(
    image: Image | Pyramid, cells: Cells
) -> Generator[Progress, None, pd.DataFrame]:
    """Features of the cells that ``cells.csv`` does not have."""
    yield Progress("Measuring shapes and colours", 0, 0)
    from napari_cytosae.core.features import cell_features

    return cell_features(image, cells)


def cut_out(
    cells: Cells, view: Box
) -> Generator[Progress, None, tuple[Box, npt.NDArray[Any]]]:
    """The part of a slide's labels in `view` that can be corrected, and its box."""
    yield Progress("Cutting out the view", 0, 0)
    from napari_cytosae.core import correction

    return correction.cut_out(cells, view)


def correct_cells(
    image: Image | Pyramid,
    cells: Cells,
    labels: Any,
    corner: tuple[int, int] | None = None,
) -> Generator[Progress, None, Corrected]:
    """Take over what was painted in `labels`, the data of the layer that shows `cells`.

    Of a slide it shows the part that begins in row and column `corner`.
    """
    yield Progress("Measuring the edited cells", 0, 0)
    import numpy as np

    from napari_cytosae.core.correction import corrected

    painted = np.array(labels)
    return Corrected(painted, corrected(image, cells, painted, corner))


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
    image: Image | Pyramid,
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
    from napari_cytosae.core.cache import open_cache
    from napari_cytosae.core.crops import crop_cells

    models, names = loaded
    crops = crop_cells(image, cells, field_of_view_um)
    cache = open_cache()
    steps = pipeline.encode(models, crops, cache=cache)
    encoded = yield from _with_context(models, names, crops, steps)
    trouble = "" if cache is None else cache.trouble
    return EncodedCells(models, names, crops, encoded, trouble)


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


def cache_usage(
    *, clear: bool = False
) -> Generator[Progress, None, tuple[int, int, str] | None]:
    """Cells kept on disk, their bytes and their folder, cleared before where asked to.

    None where nothing is kept.
    """
    yield Progress("Looking at the kept cells", 0, 0)
    from napari_cytosae.core.cache import open_cache

    cache = open_cache()
    if cache is None:
        return None
    if clear:
        cache.clear()
    return *cache.usage(), str(cache.folder)


def download(name: str) -> Generator[Progress, None, Any]:
    """Bring a named model to this machine."""
    from napari_cytosae.core import registry

    return (yield from registry.download(name))


def take_inventory() -> Generator[Progress, None, list[FoundModel]]:
    """Look into the model files on this machine."""
    yield Progress("Looking at the models", 0, 0, "models")
    preload_torch()
    from napari_cytosae.core import inventory

    return (yield from inventory.take_inventory())


def train(task: ImageTraining) -> Generator[Progress, None, TrainedSae]:
    """Train an SAE; closed early it keeps what it has reached."""
    yield Progress("Preparing", 0, 0, "images")
    preload_torch()
    from napari_cytosae.core.image_training import train_on_images

    return (yield from train_on_images(task))
