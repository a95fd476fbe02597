"""``napari-cytosae train-sae``: a new dictionary for the tokens of a backbone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

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
    from collections.abc import Generator

    from napari_cytosae.core.image_training import TrainedSae
    from napari_cytosae.core.types import Progress


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
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="[default: 0.001; relu: 0.0004]", show_default=False
        ),
    ] = None,
    images_seen: Annotated[
        int | None,
        typer.Option(
            "--images",
            metavar="N",
            min=1,
            help="Images seen in all, repeats counted [default: 24 times each, 2,000 to "
            "1,000,000]",
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
    from napari_cytosae.core.image_training import train_on_images
    from napari_cytosae.core.training_task import ImageTraining, former_path

    if output.suffix.lower() != ".safetensors":
        raise typer.BadParameter("the name after -o must end in .safetensors")
    if pixel_size is not None and not smears:
        raise typer.BadParameter("--pixel-size is of smears; give --smears too")
    task = ImageTraining(
        images=tuple(images),
        out=output,
        backbone=backbone,
        layer=layer,
        kind=kind.value,
        expansion=expansion,
        k=k,
        learning_rate=learning_rate,
        images_seen=images_seen,
        holdout=holdout,
        smears=smears,
        pixel_size_um=pixel_size,
        device=device.value,
        precision=precision.value,
        seed=seed,
        licence=licence,
        resume=resume,
    )
    replaces = output.exists() and not resume
    trained = drive(_until_ctrl_c(train_on_images(task), output), describe=str)
    typer.echo(trained.path)
    if replaces:
        say(f"The SAE that was there before is kept as {former_path(output)}.")
    if trained.metrics is None:
        say("It was finished before; nothing was done.")
    say(trained.figures)
    for image, reason in trained.skipped.items():
        say(f"{image}: {reason}")
    if trained.skipped:
        say(f"{len(trained.skipped)} images could not be read and were skipped.")
        raise typer.Exit(BAD_INPUT)


def _until_ctrl_c(
    steps: Generator[Progress, None, TrainedSae], output: Path
) -> Generator[Progress, None, TrainedSae]:
    """End on Ctrl-C after the step at work, the state reached being saved."""
    from napari_cytosae.core.training_task import state_path

    with finishing_steps() as stopped:
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value  # type: ignore[no-any-return]
            if stopped():
                steps.close()
                if state_path(output).exists():
                    at = f"{step.done:,} of {step.total:,} images"
                    say(f"Stopped at {at}; --resume goes on from there.")
                raise KeyboardInterrupt
            yield step
