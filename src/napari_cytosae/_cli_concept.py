"""``napari-cytosae concept``: everything known of one concept on one page."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae._cli_console import BAD_INPUT, drive
from napari_cytosae._cli_images import find_images, opened, skip
from napari_cytosae._cli_options import (
    Backbone,
    Device,
    DeviceOption,
    Kinds,
    ModelOptions,
    NoCache,
    PixelSizeUm,
    PrecisionChoice,
    PrecisionOption,
    SaeReference,
    SingleCell,
    Threshold,
    cell_kinds,
    require_concepts,
)
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from napari_cytosae._analysis import CellSource
    from napari_cytosae.core.cache import Cache
    from napari_cytosae.core.concept_facts import Seen
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Image

_SUFFIXES = (".html", ".pdf")


def concept(
    number: Annotated[int, typer.Argument(metavar="CONCEPT", help="Its number.", min=0)],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="The page, .html or .pdf."),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE",
            help="Smears, or with --single-cell crops, whose cells it is described by; a "
            "folder: the images in it.",
            show_default=False,
        ),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Catalogues of this SAE, published or built: a folder of one or several.",
            show_default=False,
        ),
    ] = None,
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="Also measure it: shift, turn and restain the cells of the one image.",
        ),
    ] = False,
    single_cell: SingleCell = False,
    kinds: Kinds = "wbc",
    no_cache: NoCache = False,
    backbone: Backbone = None,
    sae: SaeReference = "starter",
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = PrecisionChoice.auto,
    threshold: Threshold = 0.2,
    pixel_size: PixelSizeUm = None,
) -> None:
    """Write a concept's passport: cells that drive it, numbers, likeness, names.

    Without images it says what the catalogue, the weights and your names say.
    """
    from napari_cytosae._analysis import CellSource
    from napari_cytosae.core.cache import open_cache
    from napari_cytosae.core.concept_facts import passport_of
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.passport import passport_page
    from napari_cytosae.core.stability import measure_stability
    from napari_cytosae.widgets._printing import write_page

    listed = find_images(images or [])
    if output.suffix.lower() not in _SUFFIXES:
        raise typer.BadParameter("call the page .html or .pdf", param_hint="--output")
    if stability and len(listed) != 1:
        raise typer.BadParameter("it is measured on the cells of one image")
    models = ModelOptions(backbone, sae, device, precision).load()
    require_concepts([number], models)
    catalogues = {}
    if catalogue is not None:
        from napari_cytosae.core.class_labels import load_all, require_same_sae

        catalogues = load_all(catalogue)
        require_same_sae(catalogues, models.sae_info)
    source = CellSource(cell_kinds(kinds), single_cell=single_cell)
    cache = None if no_cache else open_cache()
    seen: list[Seen] = []
    skipped = 0
    measured = None
    with ExitStack() as stack:
        for path in listed:
            try:
                image = stack.enter_context(opened(path, pixel_size))
                seen.append(_look_at(image, source, models, threshold, cache))
                if stability:
                    measured = drive(measure_stability(models, image, seen[0].crops))
            except CytoError as error:
                skipped += skip(path, error)
        if listed and not seen:
            raise typer.Exit(BAD_INPUT)
        parameters = source.as_parameters() | {
            "threshold": threshold,
            "device": models.device.type,
            "precision": models.precision,
        }
        names = ConceptNames(models.sae_info.sha256, models.names)
        passport = passport_of(
            number, seen, models, names, catalogues, measured, parameters
        )
        write_page(output, passport_page(passport))
    typer.echo(output)
    if skipped:
        raise typer.Exit(BAD_INPUT)


def _look_at(
    image: Image | Pyramid,
    source: CellSource,
    models: Models,
    threshold: float,
    cache: Cache | None,
) -> Seen:
    """The encoded cells of an image."""
    from napari_cytosae.core import pipeline
    from napari_cytosae.core.concept_facts import Seen

    job = pipeline.analyze_image(
        image,
        models,
        kinds=source.kinds,
        single_cell=source.single_cell,
        threshold=threshold,
        keep_tokens=True,
        cache=cache,
    )
    found = drive(job, f"{image.name}: ")
    return Seen(image, found.cells, found.crops, found.encoded)
