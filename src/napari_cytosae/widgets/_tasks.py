"""What the dock has done in the background: generators over `core`, no Qt, no napari.

They run in a worker's thread. Heavy libraries are imported inside them, so that the dock
opens at once and the first job pays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import CytoError, Progress
from napari_cytosae.widgets._quiet import preload_torch

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.correction import Box, Correction
    from napari_cytosae.core.image_training import TrainedSae
    from napari_cytosae.core.inventory import FoundModel
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.preview import Conditions
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.training_task import ImageTraining
    from napari_cytosae.core.types import (
        CellKind,
        Cells,
        Crops,
        Encoded,
        Image,
        Int32Array,
    )
    from napari_cytosae.session_values import CellSettings, ModelChoice


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
    """Result of `correct_cells`.

    Attributes
    ----------
    painted, labels : ndarray of int, (h, w)
        As they were painted, and as they are of the corrected cells.
    renamed : tuple of ndarray of int64
        Rows and columns where the two differ.
    correction : Correction
    """

    painted: npt.NDArray[Any]
    labels: Int32Array
    renamed: tuple[npt.NDArray[Any], ...]
    correction: Correction


def find_cells(
    image: Image | Pyramid,
    settings: CellSettings,
    labels: Any,
    classes: Mapping[int, str] | None = None,
) -> Generator[Progress, None, Cells]:
    """The cells of `image`, as `settings` say.

    `labels` are as the layer has them, or None, and `classes` what it calls them.
    """
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
            classes=classes,
            single_cell=settings.shows == "single_cell",
        )
    )


def preview_cells(
    image: Image | Pyramid,
    box: tuple[int, int, int, int],
    kinds: Sequence[CellKind],
    conditions: Conditions | None = None,
) -> Generator[Progress, None, tuple[Cells, Conditions]]:
    """The cells of a part of `image` (``y0, x0, y1, x1``), as a search of it finds them.

    And the `conditions` of the search, which a former one settled, or this one.
    """
    yield Progress("Previewing", 0, 0)
    from napari_cytosae.core.preview import conditions_of, preview

    settled = conditions_of(image) if conditions is None else conditions
    yield Progress("Previewing", 0, 0)
    return (yield from preview(image, box, kinds, settled)), settled


def describe_shapes(
    image: Image | Pyramid, cells: Cells, former: tuple[Cells, pd.DataFrame] | None = None
) -> Generator[Progress, None, pd.DataFrame]:
    """Features of the cells that ``cells.csv`` does not have.

    Those of `former` cells of the image, given with them, are kept where cells are as they
    were in every column of their table.
    """
    yield Progress("Measuring shapes and colours", 0, 0)
    import pandas as pd

    from napari_cytosae.core.features import cell_features

    if former is None:
        return cell_features(image, cells)
    before, described = former
    same = cells.table.merge(before.table)["cell_id"]
    kept = described[described["cell_id"].isin(same)]
    others = cells.table[~cells.table["cell_id"].isin(kept["cell_id"])]
    anew = cell_features(image, replace(cells, table=others))
    tables = [table for table in (kept, anew) if len(table)] or [anew]
    return pd.concat(tables).sort_values("cell_id", ignore_index=True)


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
    gone: Mapping[int, Box] | None = None,
) -> Generator[Progress, None, Corrected]:
    """Take over what was painted in `labels`, the data of the layer that shows `cells`.

    Of a slide it shows the part that begins in row and column `corner`. `gone` is that of
    the correction before.
    """
    yield Progress("Measuring the edited cells", 0, 0)
    import numpy as np

    from napari_cytosae.core.correction import corrected

    painted = np.array(labels)
    correction = corrected(image, cells, painted, corner, gone)
    now = correction.cells.labels
    if corner is not None:
        (y, x), (height, width) = corner, painted.shape
        now = now[y : y + height, x : x + width]
    shown = np.asarray(now)
    return Corrected(painted, shown, np.nonzero(painted != shown), correction)


def load(choice: ModelChoice) -> Generator[Progress, None, tuple[Models, ConceptNames]]:
    """Load the chosen models and the analyst's names for their concepts."""
    yield Progress("Loading the models", 0, 0)
    preload_torch()
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.loading import load_models

    models = load_models(
        choice.backbone,
        choice.sae,
        device=choice.device,  # type: ignore[arg-type]
        precision=choice.precision,  # type: ignore[arg-type]
    )
    sae = models.sae_info
    return models, ConceptNames(sae.sha256, models.names, d_sae=sae.d_sae)


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
    from napari_cytosae.core.encoded_cells import concatenate

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
