"""``napari-cytosae catalogue ...``: what each concept looks like over a whole data set."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from napari_cytosae._cli_console import BAD_INPUT, drive, say
from napari_cytosae._cli_options import (
    Backbone,
    Device,
    DeviceOption,
    ModelOptions,
    Output,
    PrecisionChoice,
    PrecisionOption,
    SaeReference,
    SingleCellImages,
    UnusedPixelSize,
    UnusedThreshold,
)

app = typer.Typer(
    help="Statistics of all concepts over a data set, in the published layout.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def build(
    images: SingleCellImages,
    output: Output,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images kept for each concept.")
    ] = 10,
    backbone: Backbone = None,
    sae: SaeReference = "starter",
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = PrecisionChoice.auto,
    threshold: UnusedThreshold = 0.2,
    pixel_size: UnusedPixelSize = None,
) -> None:
    """Compute top images, mean activation, sparsity and label entropy of every concept.

    An interrupted run goes on where it was when it is started again.
    """
    from napari_cytosae.core.catalogue import build as build_catalogue
    from napari_cytosae.core.catalogue import labelled_images

    listed = labelled_images(images)
    models = ModelOptions(backbone, sae, device, precision).load()
    folder = drive(build_catalogue(models, listed, output, top=top))
    typer.echo(folder)
    skipped = json.loads((folder / "catalogue.json").read_text("utf-8"))["skipped"]
    for image in skipped:
        say(image["reason"])
    if skipped:
        say(f"{len(skipped)} of {len(listed)} images were skipped.")
        raise typer.Exit(BAD_INPUT)


@app.command()
def show(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A catalogue, built or published, or a folder of several."
        ),
    ],
    concept: Annotated[int, typer.Argument(metavar="CONCEPT", help="Its number.")],
    classnames: Annotated[
        Path | None,
        typer.Option(
            metavar="TXT",
            help="Names of the labels, one a line; else classnames.txt of the folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what is known of one concept: how often it fires, and in which images most.

    Of a folder of several data sets, also the class that their top images show.
    """
    from napari_cytosae.core.catalogue import VALUES_FILE, load
    from napari_cytosae.core.class_labels import describe_classes, load_all

    if classnames is not None or (folder / VALUES_FILE).is_file():
        typer.echo(load(folder, classnames).describe(concept))
        return
    found = load_all(folder)
    described = {name: each.describe(concept) for name, each in found.items()}
    text = describe_classes(found)["text"].iloc[concept]
    typer.echo(f"concept {concept}: {text or 'no class is known'}")
    for name, description in described.items():
        typer.echo(f"\n{name}\n{description}")
