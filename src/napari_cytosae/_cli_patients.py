"""``napari-cytosae barcode``, ``train-head`` and ``predict``: from images to patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae._cli_console import BAD_INPUT, drive, say
from napari_cytosae._cli_options import (
    Backbone,
    Device,
    DeviceOption,
    ModelOptions,
    PixelSizeUm,
    PrecisionChoice,
    PrecisionOption,
    SaeReference,
    Threshold,
)
from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.patients import Barcodes


def barcode(
    manifest: Annotated[
        Path | None,
        typer.Argument(
            metavar="MANIFEST.csv",
            help="Columns patient, image (relative to the file), and diagnosis if known.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.h5ad", help="The barcodes.")
    ] = Path("barcodes.h5ad"),
    single_cell: Annotated[
        bool, typer.Option("--single-cell", help="Each image shows one cell.")
    ] = False,
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
        write_barcodes(barcodes, output)
    else:
        from napari_cytosae.core import cohort

        assert manifest is not None
        listed = cohort.read_manifest(manifest)
        models = ModelOptions(backbone, sae, device, precision).load()
        settings = cohort.Settings(threshold, single_cell, include_cls, pixel_size)
        barcodes = drive(cohort.build(models, listed, output, settings))
        write_barcodes(barcodes, output)
        cohort.forget(output)
    typer.echo(output)
    cells = float(barcodes.n_cells.sum())
    count = f"{len(barcodes)} {'patient' if len(barcodes) == 1 else 'patients'}"
    say(f"{count}, {cells:.0f} cells." if cells == cells else f"{count}.")
    _finish(barcodes.problems)


def _finish(problems: Sequence[str]) -> None:
    """Name what was left out; bad input is exit code 2, the rest being done."""
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(BAD_INPUT)
