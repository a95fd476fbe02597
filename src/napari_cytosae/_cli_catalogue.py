"""``napari-cytosae catalogue ...``: what each concept looks like over a whole data set."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae._cli_console import BAD_INPUT, drive, say
from napari_cytosae._cli_options import (
    Backbone,
    Device,
    DeviceOption,
    Kinds,
    ModelOptions,
    Output,
    PixelSizeUm,
    PrecisionChoice,
    PrecisionOption,
    SaeReference,
    SingleCellImages,
    UnusedThreshold,
    cell_kinds,
)
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.catalogue import Catalogue

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
    smears: Annotated[
        bool,
        typer.Option(
            "--smears",
            help="The images are smears: their cells are found and cut out, as by "
            "`analyze`, and each is an image of the catalogue, with its smear's label.",
        ),
    ] = False,
    kinds: Kinds = "wbc",
    backbone: Backbone = None,
    sae: SaeReference = "starter",
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = PrecisionChoice.auto,
    threshold: UnusedThreshold = 0.2,
    pixel_size: PixelSizeUm = None,
) -> None:
    """Compute top images, mean activation, sparsity and label entropy of every concept.

    Each image is one cell, unless they are --smears; these have --kinds and a --pixel-size.
    An interrupted run goes on where it was when it is started again.
    """
    from napari_cytosae.core.catalogue import build as build_catalogue
    from napari_cytosae.core.catalogue import labelled_images

    listed = labelled_images(images)
    models = ModelOptions(backbone, sae, device, precision).load()
    left_out: list[str] = []
    if smears:
        from napari_cytosae.core.smear_crops import write_crops

        made = drive(write_crops(listed, output, cell_kinds(kinds), pixel_size))
        for reason in made.skipped:
            say(reason)
        if not made.images:
            raise CytoError("No cells were found in the smears: check the pixel size.")
        listed, left_out = made.images, made.skipped
    folder = drive(build_catalogue(models, listed, output, top=top))
    typer.echo(folder)
    skipped = json.loads((folder / "catalogue.json").read_text("utf-8"))["skipped"]
    for image in skipped:
        say(image["reason"])
    if skipped:
        say(f"{len(skipped)} of {len(listed)} images were skipped.")
    if skipped or left_out:
        raise typer.Exit(BAD_INPUT)


@app.command()
def show(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A catalogue, built or published, or a folder of several."
        ),
    ],
    concept: Annotated[
        str,
        typer.Argument(
            metavar="CONCEPT",
            help="Its number; or words of a class or name, like basophil: the concepts "
            "that show it.",
        ),
    ],
    classnames: Annotated[
        Path | None,
        typer.Option(
            metavar="TXT",
            help="Names of the labels, one a line; else classnames.txt of the folder, or "
            "as published.",
            show_default=False,
        ),
    ] = None,
    sae: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="The catalogue's SAE, to search what you and it call its concepts too.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="Concepts listed at most.")
    ] = 20,
) -> None:
    """Say what is known of one concept, or which concepts show a class of cell.

    Of a concept: how often it fires, in which images most, and what class these show. Of a
    class: the concepts that most of the top images of all data sets say it of.
    """
    from napari_cytosae.core.catalogue import load
    from napari_cytosae.core.class_labels import describe_classes, load_all

    found = {folder.name: load(folder, classnames)} if classnames else load_all(folder)
    names = _names(found, sae)
    if not concept.isdecimal():
        _list(found, concept, names, limit)
        return
    number = int(concept)
    described = {name: each.describe(number) for name, each in found.items()}
    text = describe_classes(found)["text"].iloc[number]
    title = f"{number} {names.get(number, '')}".strip()
    typer.echo(f"concept {title}: {text or 'no class is known'}")
    for name, description in described.items():
        typer.echo(f"\n{name}\n{description}")


def _names(found: Mapping[str, Catalogue], sae: str | None) -> dict[int, str]:
    """What is said of the concepts of the catalogues' SAE, as far as it is known."""
    from napari_cytosae.core import registry
    from napari_cytosae.core.checkpoints import read_names
    from napari_cytosae.core.class_labels import names_of
    from napari_cytosae.core.concepts import ConceptNames

    if sae is not None:
        info, shipped = read_names(registry.resolve(sae, "sae"))
        return ConceptNames(info.sha256, shipped).as_dict()
    names = names_of(found)
    return {} if names is None else names.as_dict()


def _list(
    found: Mapping[str, Catalogue], text: str, names: dict[int, str], limit: int
) -> None:
    """Which concepts show a class, and what says so."""
    from napari_cytosae.core.class_labels import describe_classes, find_concepts

    table = find_concepts(found, text, names)
    if not len(table):
        classes = sorted(set(describe_classes(found)["class"]) - {""})
        known = f"the classes are {', '.join(classes)}" if classes else "it has no classes"
        raise CytoError(f"No concept of this catalogue is called {text!r}: {known}.")
    first, catalogue = next(iter(found.items()))
    typer.echo(f"{'concept':>7}  fires in {first:<8} mean act  what its top images show")
    listed = table.head(limit)
    for concept, name, said in zip(
        listed.index.tolist(), listed["name"], listed["text"], strict=True
    ):
        shown = f"{name}: {said}" if name else said
        density, strength = catalogue.sparsity[concept], catalogue.mean_acts[concept]
        typer.echo(f"{concept:>7}  {density:>17.2%} {strength:>9.3g}  {shown}")
    if len(table) > limit:
        typer.echo(f"{len(table) - limit:,} more; --limit lists them.")
