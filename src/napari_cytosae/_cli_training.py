"""``napari-cytosae train-sae``: a new dictionary for the tokens of a backbone."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from napari_cytosae._cli_console import BAD_INPUT, drive, finishing_steps, say
from napari_cytosae._cli_options import (
    Device,
    DeviceOption,
    PixelSizeUm,
    PrecisionChoice,
    PrecisionOption,
    SingleCellImages,
    UnusedThreshold,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_cytosae.core.training_config import TrainingConfig, TrainingMetrics
    from napari_cytosae.core.types import Progress, SaeKind, UInt8Array

EPOCHS = 24
"""The reference's 1,000,000 images, taken from 41,906."""
FEWEST_IMAGES, MOST_IMAGES = 2_000, 1_000_000


class Kind(StrEnum):
    """What keeps the latents sparse."""

    relu = "relu"
    topk = "topk"
    batchtopk = "batchtopk"
    jumprelu = "jumprelu"


def train_sae(
    images: SingleCellImages,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.safetensors", help="The SAE.")
    ],
    kind: Annotated[
        Kind,
        typer.Option(help="relu is the published recipe (L1, ghost gradients)."),
    ] = Kind.batchtopk,
    expansion: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Latents for each dimension of a token [default: 16; relu: 64]",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        int,
        typer.Option("-k", metavar="K", min=1, help="Active latents a token (not relu)."),
    ] = 32,
    images_seen: Annotated[
        int | None,
        typer.Option(
            "--images",
            metavar="N",
            min=1,
            help=f"Images seen in all, repeats counted [default: {EPOCHS} times each, "
            f"{FEWEST_IMAGES:,} to {MOST_IMAGES:,}]",
            show_default=False,
        ),
    ] = None,
    holdout: Annotated[
        int, typer.Option(metavar="N", min=0, help="Images kept to measure the SAE on.")
    ] = 0,
    smears: Annotated[
        bool,
        typer.Option("--smears", help="The images are fields: train on their cells."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training.")
    ] = False,
    layer: Annotated[
        int,
        typer.Option(metavar="L", help="Block whose output is read; -1 is the last one."),
    ] = -2,
    seed: Annotated[int, typer.Option(metavar="S", help="Of all that is random.")] = 0,
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Written into the file.")
    ] = "",
    backbone: Annotated[
        str, typer.Option(metavar="R", help="A name of `models list`, hub id or path.")
    ] = "starter",
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = PrecisionChoice.auto,
    threshold: UnusedThreshold = 0.2,
    pixel_size: PixelSizeUm = None,
) -> None:
    """Train a sparse autoencoder on the tokens of a backbone.

    IMAGES are single cells; with --smears the white cells of fields are found and taken.
    Ctrl-C keeps the state reached, for --resume.
    """
    from napari_cytosae.core import training
    from napari_cytosae.core._loading import pick_device
    from napari_cytosae.core.backbone import Backbone
    from napari_cytosae.core.catalogue import labelled_images
    from napari_cytosae.core.checkpoints import open_backbone
    from napari_cytosae.core.evaluation import blocks_after
    from napari_cytosae.core.registry import resolve

    if output.suffix.lower() != ".safetensors":
        raise typer.BadParameter("the name after -o must end in .safetensors")
    paths = [path for path, _ in labelled_images(images)]
    weights = open_backbone(resolve(backbone, "backbone"))
    skipped: list[str] = []
    source: Sequence[Any] = paths
    if smears:
        source = drive(_cells_of(paths, pixel_size, skipped))
    where = pick_device(device.value)
    config = _recipe(
        kind,
        len(source),
        images=images_seen or min(max(EPOCHS * len(source), FEWEST_IMAGES), MOST_IMAGES),
        k=k,
        holdout_images=holdout,
        precision=precision.value,
        seed=seed,
        **({} if expansion is None else {"expansion": expansion}),
    )
    last: list[TrainingMetrics] = []
    steps = training.train_sae(
        source,
        config,
        out=output,
        backbone=Backbone(weights.info, weights.tensors, layer),
        after=blocks_after(weights, layer).to(where),
        training_data=f"{len(source)} {'cells of smears' if smears else 'images'}",
        licence=licence,
        device=where,
        resume=resume,
    )
    typer.echo(drive(_watched(steps, last), describe=_figures))
    if last:
        say(_figures(last[0]))
        skipped += last[0].skipped
    for image in dict.fromkeys(skipped):
        say(f"{image} could not be read and was skipped.")
    if skipped:
        raise typer.Exit(BAD_INPUT)


def _recipe(kind: Kind, n_images: int, **changes: Any) -> TrainingConfig:
    from napari_cytosae.core.training_config import TrainingConfig

    if kind is Kind.relu:
        recipe = TrainingConfig.reference(**changes)
    else:
        recipe = TrainingConfig(kind=cast("SaeKind", kind.value), **changes)
    # Shuffling more images than there are would only encode the same ones again.
    shuffled = min(recipe.buffer_images, max(recipe.batch_images, n_images))
    return replace(recipe, buffer_images=shuffled)


def _cells_of(
    paths: Sequence[Path], pixel_size: float | None, skipped: list[str]
) -> Generator[Progress, None, list[UInt8Array]]:
    """Find the white cells of fields; images that cannot be read go to `skipped`."""
    from napari_cytosae.core.crops import crop_cells
    from napari_cytosae.core.images import read_image
    from napari_cytosae.core.segmentation import segment
    from napari_cytosae.core.types import CytoError, ImageError, Progress

    crops: list[UInt8Array] = []
    for done, path in enumerate(paths):
        yield Progress("Finding cells", done, len(paths), "images")
        try:
            image = read_image(path, pixel_size)
        except ImageError:
            skipped.append(str(path))
            continue
        crops += crop_cells(image, segment(image))
    if not crops:
        raise CytoError("No white cells were found: give other smears, or single cells.")
    return crops


def _watched(
    steps: Generator[Progress, None, Path], last: list[TrainingMetrics]
) -> Generator[Progress, None, Path]:
    """Keep the newest figures in `last`; end on Ctrl-C, the state reached being saved."""
    with finishing_steps() as stopped:
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value  # type: ignore[no-any-return]
            if step.partial is not None:
                last[:] = [step.partial]
            if stopped():
                steps.close()
                raise KeyboardInterrupt
            yield step


def _figures(metrics: TrainingMetrics) -> str:
    text = (
        f"explained variance {metrics.explained_variance:.3f}, L0 {metrics.l0:.1f}, "
        f"dead {metrics.dead_share:.1%}"
    )
    if metrics.loss_recovered is not None:
        text += f", loss recovered {metrics.loss_recovered:.3f}"
    return text
