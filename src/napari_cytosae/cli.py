"""The command line. Heavy libraries are imported when a command runs, not before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae import (
    __version__,
    _cli_barcode,
    _cli_catalogue,
    _cli_concept,
    _cli_models,
    _cli_names,
    _cli_patients,
    _cli_training,
)
from napari_cytosae._cli_console import OneLineErrors, drive, say
from napari_cytosae._cli_images import each_image, find_images, read_labels
from napari_cytosae._cli_options import (
    Also,
    Backbone,
    Device,
    DeviceOption,
    Images,
    Kinds,
    ModelOptions,
    NoCache,
    Output,
    PixelSizeUm,
    PrecisionChoice,
    PrecisionOption,
    SaeReference,
    SingleCell,
    Threshold,
    cell_kinds,
    parse_concepts,
    require_concepts,
)
from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae._analysis import CellSource
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Image, Progress

app = typer.Typer(
    cls=OneLineErrors,
    help=f"Concepts of a vision transformer, laid over stained smears. {RESEARCH_USE}",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(_cli_models.app, name="models")
app.add_typer(_cli_catalogue.app, name="catalogue")
app.add_typer(_cli_names.app, name="names")
app.command()(_cli_concept.concept)
app.command()(_cli_barcode.barcode)
app.command("train-head")(_cli_patients.train_head)
app.command()(_cli_patients.predict)
app.command()(_cli_patients.compare)
app.command("train-sae")(_cli_training.train_sae)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-cytosae {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    headless: Annotated[
        bool,
        typer.Option("--headless", help="Write files only, as where no screen is."),
    ] = False,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")
    ] = Path("cytosae-demo"),
) -> None:
    """Walk through a built-in smear: segment, encode, overlay, export.

    Opens napari; without a screen, or with --headless, writes the same results and
    pictures of the overlays.
    """
    from napari_cytosae import demo as walk

    if not headless and walk.can_show():
        walk.in_viewer(output)
        return
    if not headless:
        say("There is no screen or no napari here: writing files instead.")
    for path in drive(walk.headless(output)):
        typer.echo(path)


@app.command()
def segment(
    images: Images,
    output: Output,
    pixel_size: PixelSizeUm = None,
    kinds: Kinds = "wbc",
) -> None:
    """Find the cells of smears; label images and a table for each.

    DIR/<image's stem>/ gets cells.tif, nuclei.tif, cells.csv and run.json.
    """
    from napari_cytosae._analysis import CellSource, segment_image

    source = CellSource(cell_kinds(kinds))

    def work(
        image: Image | Pyramid, folder: Path, _: None
    ) -> Generator[Progress, None, Cells]:
        return segment_image(image, folder, source)

    each_image(images, output, pixel_size, lambda: None, work)


@app.command()
def analyze(
    images: Images,
    output: Output,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="TIF",
            help="Cells as outlined by hand or elsewhere: whole numbers, 0 is background, "
            "as TIFF or OME-Zarr; or GeoJSON, as QuPath exports it.",
            show_default=False,
        ),
    ] = None,
    single_cell: SingleCell = False,
    kinds: Kinds = "wbc",
    concepts: Annotated[
        str | None,
        typer.Option(
            metavar="IDS",
            help="Concepts whose overlays are written, like 12,55.",
            callback=parse_concepts,
            show_default=False,
        ),
    ] = None,
    also: Also = None,
    no_cache: NoCache = False,
    backbone: Backbone = None,
    sae: SaeReference = "starter",
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = PrecisionChoice.auto,
    threshold: Threshold = 0.2,
    pixel_size: PixelSizeUm = None,
) -> None:
    """Find the cells of smears and the concepts active in them.

    DIR/<image's stem>/ gets what `segment` writes, concepts.csv, cells.h5ad, and an
    overlay_<id>.tif for each of --concepts.
    """
    from napari_cytosae._analysis import analyze_image
    from napari_cytosae.core.cache import open_cache

    cache = None if no_cache else open_cache()
    source = _source(images, labels, single_cell, kinds)
    extras = also.split(",") if also else []
    wanted = [int(concept) for concept in concepts.split(",")] if concepts else []
    options = ModelOptions(backbone, sae, device, precision)

    def prepare() -> Models:
        models = options.load()
        require_concepts(wanted, models)
        return models

    def work(
        image: Image | Pyramid, folder: Path, models: Models
    ) -> Generator[Progress, None, Cells]:
        done = yield from analyze_image(
            image, folder, source, models, threshold, wanted, extras, cache
        )
        return done.cells

    try:
        each_image(images, output, pixel_size, prepare, work)
    finally:
        if cache is not None and cache.trouble:
            say(f"{cache.trouble}.")


def _source(
    images: list[Path], labels: Path | None, single_cell: bool, kinds: str
) -> CellSource:
    from napari_cytosae._analysis import CellSource

    if labels is None:
        return CellSource(cell_kinds(kinds), single_cell=single_cell)
    if single_cell:
        raise typer.BadParameter("--labels and --single-cell exclude each other")
    if len(find_images(images)) > 1:
        raise typer.BadParameter("--labels goes with one image: run one after the other")
    if labels.suffix.lower() in (".geojson", ".json"):
        from napari_cytosae.core.geojson import read_geojson

        return CellSource(outlines=tuple(read_geojson(labels)), labels_name=labels.name)
    return CellSource(labels=read_labels(labels), labels_name=labels.name)
