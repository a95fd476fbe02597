"""``napari-cytosae barcode``: from images to patients."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae._cli_console import drive, finish, say
from napari_cytosae._cli_options import (
    Backbone,
    Device,
    DeviceOption,
    ModelOptions,
    PixelSizeUm,
    PrecisionChoice,
    PrecisionOption,
    SaeReference,
    SingleCell,
    Threshold,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cytosae.core.crew import Crew
    from napari_cytosae.core.models import Models


def barcode(
    manifest: Annotated[
        Path | None,
        typer.Argument(
            metavar="MANIFEST.csv",
            help="Columns patient, image (relative to the file), and diagnosis if known. "
            "Others, like scanner or day, are kept for `train-head`.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.h5ad", help="The barcodes.")
    ] = Path("barcodes.h5ad"),
    single_cell: SingleCell = False,
    include_cls: Annotated[
        bool,
        typer.Option("--include-cls", help="Count the CLS token too, as the paper's code."),
    ] = False,
    from_counts: Annotated[
        Path | None,
        typer.Option(
            metavar="NPY",
            help="cls_sae_cnt.npy of the paper's code, instead of a manifest.",
            show_default=False,
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Patients of --from-counts, one a line in the order of its rows.",
            show_default=False,
        ),
    ] = None,
    backbone: Backbone = None,
    sae: SaeReference = "starter",
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = PrecisionChoice.auto,
    threshold: Threshold = 0.2,
    pixel_size: PixelSizeUm = None,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes on this machine that share its cores (extra [distributed]).",
        ),
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of a dask scheduler, tcp://host:8786: its workers encode. They need the "
            "images and models under the same paths.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the barcode of each patient: how much of each concept a mean cell shows.

    An interrupted run goes on where it was when it is started again.
    """
    from napari_cytosae.core._barcode_files import read_counts, write_barcodes

    if (manifest is None) == (from_counts is None):
        raise typer.BadParameter("give either MANIFEST.csv or --from-counts")
    if (names is None) != (from_counts is None):
        raise typer.BadParameter("--from-counts and --names go together")
    if from_counts is not None and names is not None:
        barcodes = read_counts(from_counts, names)
        say(f"Note: {barcodes.caveat}")
        write_barcodes(barcodes, output)
    else:
        from napari_cytosae.core import cohort

        assert manifest is not None
        listed = cohort.read_manifest(manifest)
        chosen = ModelOptions(backbone, sae, device, precision)
        models = chosen.load()
        settings = cohort.Settings(threshold, single_cell, include_cls, pixel_size)
        if scheduler is not None:
            say(f"Waiting for the workers of {scheduler}, a minute at most.")
        with _crew(chosen, models, workers, scheduler) as crew:
            barcodes = drive(cohort.build(models, listed, output, settings, crew))
        write_barcodes(barcodes, output)
        cohort.forget(output)
    typer.echo(output)
    for caution in barcodes.cautions:
        say(f"Caution: {caution}")
    cells = float(barcodes.n_cells.sum())
    count = f"{len(barcodes)} {'patient' if len(barcodes) == 1 else 'patients'}"
    say(f"{count}, {cells:.0f} cells." if cells == cells else f"{count}.")
    finish(barcodes.problems)


@contextmanager
def _crew(
    chosen: ModelOptions, models: Models, workers: int, scheduler: str | None
) -> Iterator[Crew | None]:
    """The workers asked for; none where this process does it all."""
    if workers == 1 and scheduler is None:
        yield None
        return
    if workers > 1 and scheduler is not None:
        raise typer.BadParameter("give either --workers or --scheduler")
    import torch

    from napari_cytosae.core import crew

    threads = max(1, torch.get_num_threads() // workers)
    recipe = crew.recipe_of(models, *chosen.references(), threads)
    with crew.crew(recipe, workers, scheduler or "") as hired:
        yield hired
