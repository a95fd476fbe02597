"""Training an SAE from image files: what ``train-sae`` and the Models panel both drive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cytosae.core._pair import pick_device
from napari_cytosae.core.backbone import Backbone
from napari_cytosae.core.catalogue import labelled_images
from napari_cytosae.core.checkpoints import inspect, open_backbone
from napari_cytosae.core.crops import crop_cells
from napari_cytosae.core.evaluation import blocks_after
from napari_cytosae.core.images import read_image
from napari_cytosae.core.registry import resolve
from napari_cytosae.core.segmentation import segment
from napari_cytosae.core.training import train_sae
from napari_cytosae.core.training_config import TrainingError
from napari_cytosae.core.types import ImageError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from napari_cytosae.core.training_config import TrainingMetrics
    from napari_cytosae.core.training_task import ImageTraining
    from napari_cytosae.core.types import UInt8Array


@dataclass(frozen=True, slots=True)
class TrainedSae:
    """What came of it.

    Attributes
    ----------
    path : Path
    metrics : TrainingMetrics or None
        Of the last step; None where the training was finished before.
    figures : str
        What it was trained on and what it is worth, as the file says.
    skipped : dict of str to str
        Images that could not be read, and why.
    """

    path: Path
    metrics: TrainingMetrics | None
    figures: str
    skipped: Mapping[str, str]


def train_on_images(task: ImageTraining) -> Generator[Progress, None, TrainedSae]:
    """Train an SAE; yields as `training.train_sae` does, which it drives.

    Raises
    ------
    CytoError
        No images, none that can be read, no cells, or as `training.train_sae`.
    """
    yield Progress("Preparing", 0, 0, "images")
    if task.out.suffix.lower() != ".safetensors":
        raise TrainingError(f"{task.out.name}: the new SAE's name must end in .safetensors")
    paths = [path for path, _ in labelled_images(task.images)]
    weights = open_backbone(resolve(task.backbone, "backbone"))
    device = pick_device(task.device)
    skipped: dict[str, str] = {}
    source: Sequence[Any] = paths
    if task.smears:
        source = yield from _cells_of(paths, task.pixel_size_um, skipped)
    steps = train_sae(
        source,
        task.recipe(len(source)),
        out=task.out,
        backbone=Backbone(weights.info, weights.tensors, task.layer),
        after=blocks_after(weights, task.layer).to(device),
        training_data=f"{len(source)} {'cells of smears' if task.smears else 'images'}",
        licence=task.licence,
        device=device,
        resume=task.resume,
    )
    last: TrainingMetrics | None = None
    try:
        while True:
            step = next(steps)
            last = step.partial or last
            yield step
    except StopIteration as finished:
        skipped |= last.skipped if last else {}
        figures = inspect(finished.value).training_data
        return TrainedSae(finished.value, last, figures, skipped)
    finally:
        # Closed early, it writes the state it has reached.
        steps.close()


def _cells_of(
    paths: Sequence[Path], pixel_size_um: float | None, skipped: dict[str, str]
) -> Generator[Progress, None, list[UInt8Array]]:
    """Find the white cells of fields; images that cannot be read go to `skipped`."""
    crops: list[UInt8Array] = []
    for done, path in enumerate(paths):
        yield Progress("Finding cells", done, len(paths), "images")
        try:
            image = read_image(path, pixel_size_um)
        except ImageError as error:
            skipped[str(path)] = str(error)
            continue
        crops += crop_cells(image, segment(image))
    if not crops:
        raise TrainingError(
            "No white cells were found: give other smears, or images of single cells."
        )
    return crops
