"""``napari-cytosae barcode``, ``train-head`` and ``predict``: from images to patients."""

from __future__ import annotations

from contextlib import contextmanager
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
from napari_cytosae.core.types import RESEARCH_USE, CytoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_cytosae.core.crew import Crew
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.patients import Barcodes


BarcodesFile = Annotated[
    Path, typer.Argument(metavar="BARCODES.h5ad", help="Of `barcode`.", show_default=False)
]


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
        write_barcodes(barcodes, output)
    else:
        from napari_cytosae.core import cohort

        assert manifest is not None
        listed = cohort.read_manifest(manifest)
        chosen = ModelOptions(backbone, sae, device, precision)
        models = chosen.load()
        settings = cohort.Settings(threshold, single_cell, include_cls, pixel_size)
        with _crew(chosen, models, workers, scheduler) as crew:
            barcodes = drive(cohort.build(models, listed, output, settings, crew))
        write_barcodes(barcodes, output)
        cohort.forget(output)
    typer.echo(output)
    cells = float(barcodes.n_cells.sum())
    count = f"{len(barcodes)} {'patient' if len(barcodes) == 1 else 'patients'}"
    say(f"{count}, {cells:.0f} cells." if cells == cells else f"{count}.")
    _finish(barcodes.problems)


def train_head(
    barcodes: BarcodesFile,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.json", help="The head.")
    ] = Path("head.json"),
    diagnoses: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Columns patient, diagnosis; else the barcodes' own diagnoses. Of others, "
            "like scanner or day, the report says whether the concepts predict them.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of the nested cross-validation.")
    ] = 5,
) -> None:
    """Train a classifier of patients, and say how well it does on those it has not seen.

    The report goes to the terminal and, with figures (PNG, SVG), beside the head.
    """
    from dataclasses import replace

    from napari_cytosae.core import heads
    from napari_cytosae.core._barcode_files import read_barcodes
    from napari_cytosae.core._batches import batch_effects
    from napari_cytosae.core._head_files import write_head
    from napari_cytosae.core._head_report import report, report_figure
    from napari_cytosae.core._head_svg import report_svg
    from napari_cytosae.core.figures import save_png
    from napari_cytosae.core.files import atomic_file

    table = _read(read_barcodes(barcodes))
    problems = list(table.problems)
    if diagnoses is not None:
        table, faults = with_diagnoses(table, diagnoses)
        problems += faults
    table, left_out = heads.usable(table)
    for caution in heads.cautions(table):
        say(f"Caution: {caution}")
    effects = batch_effects(table, _batches(diagnoses) if diagnoses is not None else {})
    for effect in effects:
        if effect.found:
            say(f"Caution: a batch effect. {effect}.")
    head, validation = drive(heads.train(table, repeats))
    found = report(validation)
    write_head(replace(head, about=head.about | {"scores": found.as_json()}), output)
    save_png(report_figure(found), output.with_suffix(".png"))
    with atomic_file(output.with_suffix(".svg")) as temporary:
        temporary.write_text(report_svg(found), encoding="utf-8")
    batches = "".join(f"{effect}\n" for effect in effects)
    lines = f"{found}\n{batches}\n{head.about['method']}; {RESEARCH_USE}\n"
    with atomic_file(output.with_suffix(".txt")) as temporary:
        temporary.write_text(lines, encoding="utf-8")
    typer.echo(lines)
    typer.echo(output)
    _finish([*problems, *left_out])


def predict(
    barcodes: BarcodesFile,
    head: Annotated[
        Path, typer.Option("--head", metavar="FILE.json", help="Of `train-head`.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.csv", help="The predictions.")
    ] = Path("predictions.csv"),
) -> None:
    """Predict the class of each patient, or say why there is no answer."""
    from napari_cytosae.core import heads
    from napari_cytosae.core._barcode_files import read_barcodes
    from napari_cytosae.core._head_files import read_head
    from napari_cytosae.core.export import write_csv
    from napari_cytosae.core.files import atomic_file

    trained = read_head(head)
    table = _read(read_barcodes(barcodes))
    parameters = table.record.get("parameters", {})
    for key in ("threshold", "include_cls"):
        ours, theirs = trained.about.get(key), parameters.get(key)
        if ours is not None and theirs is not None and ours != theirs:
            say(f"Caution: the head was trained with {key} {ours}, these have {theirs}.")
    predictions = heads.predict(trained, table)
    with atomic_file(output) as temporary:
        write_csv(predictions, temporary)
    typer.echo(output)
    _finish(table.problems)


def with_diagnoses(table: Barcodes, path: Path) -> tuple[Barcodes, list[str]]:
    """Barcodes with the diagnoses of a CSV, and the rows of it that cannot be used.

    Raises
    ------
    CytoError
        If the file cannot be read or names none of the patients.
    """
    from dataclasses import replace

    from napari_cytosae.core._manifest import read_table

    known: dict[str, tuple[str, int]] = {}
    problems = []
    for line, row in read_table(path, ("patient", "diagnosis")):
        patient, diagnosis = row["patient"], row["diagnosis"]
        former = known.get(patient)
        fault = ""
        if not patient or not diagnosis:
            fault = "patient or diagnosis is empty"
        elif former is not None and former[0] != diagnosis:
            fault = f"{patient} has {diagnosis} here and {former[0]} on line {former[1]}"
        if fault:
            problems.append(f"{path.name}, line {line}: {fault}; the row is left out.")
        elif former is None:
            known[patient] = (diagnosis, line)
    missing = [patient for patient in known if patient not in set(table.patients)]
    if len(missing) == len(known):
        raise CytoError(f"{path} names none of the patients of the barcodes.")
    if missing:
        first = f"{missing[0]}, line {known[missing[0]][1]}"
        say(f"{path.name}: {len(missing)} patients have no barcode ({first}, for one).")
    merged = [
        known[patient][0] if patient in known else own
        for patient, own in zip(table.patients, table.diagnosis, strict=True)
    ]
    return replace(table, diagnosis=tuple(merged)), problems


def _batches(path: Path) -> dict[str, dict[str, str]]:
    """The further columns of a table of diagnoses: column -> patient -> value."""
    from napari_cytosae.core._manifest import read_table

    columns: dict[str, dict[str, str]] = {}
    for _, row in read_table(path, ("patient", "diagnosis")):
        for name, value in row.items():
            if name not in ("patient", "diagnosis") and value:
                columns.setdefault(name, {})[row["patient"]] = value
    return columns


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


def _read(table: Barcodes) -> Barcodes:
    if not table.sae_sha256:
        say("Caution: these barcodes do not say which SAE they are of.")
    return table


def _finish(problems: Sequence[str]) -> None:
    """Name what was left out; bad input is exit code 2, the rest being done."""
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(BAD_INPUT)
