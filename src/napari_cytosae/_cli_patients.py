"""``napari-cytosae train-head``, ``predict`` and ``compare``: what barcodes say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae._cli_console import drive, finish, say

if TYPE_CHECKING:
    from napari_cytosae.core._diagnoses import Diagnoses
    from napari_cytosae.core.patients import Barcodes

BarcodesFile = Annotated[
    Path, typer.Argument(metavar="BARCODES.h5ad", help="Of `barcode`.", show_default=False)
]


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
            "like scanner or day, here or in the manifest, the report says whether the "
            "concepts predict them.",
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
    from napari_cytosae.core._batches import batch_effects
    from napari_cytosae.core._head_files import write_head
    from napari_cytosae.core._head_report import report, report_figure
    from napari_cytosae.core._head_svg import report_svg
    from napari_cytosae.core.figures import save_png
    from napari_cytosae.core.files import atomic_file

    table, known = _diagnosed(barcodes, diagnoses)
    problems, undiagnosed = table.problems, heads.undiagnosed(table)
    table, left_out = heads.usable(table)
    for caution in (*undiagnosed, *heads.cautions(table)):
        say(f"Caution: {caution}")
    columns = {
        name: dict(zip(table.patients, values, strict=True))
        for name, values in table.others.items()
    }
    effects = batch_effects(table, columns | (known.columns if known is not None else {}))
    for effect in effects:
        if effect.found:
            say(f"Caution: a batch effect. {effect}.")
    head, validation = drive(heads.train(table, repeats))
    found = report(validation, table.note)
    write_head(replace(head, about=head.about | {"scores": found.as_json()}), output)
    save_png(report_figure(found), output.with_suffix(".png"))
    with atomic_file(output.with_suffix(".svg")) as temporary:
        temporary.write_text(report_svg(found), encoding="utf-8")
    notes = "".join(f"{note}\n" for note in (*effects, *undiagnosed))
    lines = f"{found}\n{notes}\n{head.about['method']}; {table.note}\n"
    with atomic_file(output.with_suffix(".txt")) as temporary:
        temporary.write_text(lines, encoding="utf-8")
    typer.echo(lines)
    typer.echo(output)
    finish([*problems, *left_out])


def predict(
    barcodes: BarcodesFile,
    head: Annotated[
        str,
        typer.Option(
            "--head",
            metavar="FILE.json",
            help="Of `train-head`; or `synthetic`, the built-in one, for trying out only.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.csv", help="The predictions.")
    ] = Path("predictions.csv"),
) -> None:
    """Predict the class of each patient, or say why there is no answer."""
    from napari_cytosae.core import heads
    from napari_cytosae.core.builtin_head import open_head
    from napari_cytosae.core.export import write_csv
    from napari_cytosae.core.files import atomic_file

    trained = open_head(head)
    table = _read(barcodes)
    predictions = heads.predict(trained, table)
    otherwise = heads.mismatches(trained, table)
    if otherwise:
        say(f"Caution: no answer for any patient: {'; '.join(otherwise)}.")
    unchecked = heads.unchecked(trained, table)
    if unchecked:
        say(
            "Caution: not checked, as the head or the barcodes do not tell it: "
            f"{', '.join(unchecked)}."
        )
    with atomic_file(output) as temporary:
        write_csv(predictions, temporary)
    typer.echo(output)
    finish(table.problems)


def compare(
    barcodes: BarcodesFile,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")
    ],
    diagnoses: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Columns patient, diagnosis; else the barcodes' own diagnoses.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Concepts listed of each disease.")
    ] = 50,
) -> None:
    """Say how alike patients are, and which concepts one disease has and the others lack.

    DIR gets similarity.csv and a map of it, similarity.svg, the alike side by side; and,
    where there are two diagnoses, disease_concepts.csv.
    """
    from napari_cytosae.core._map_svg import map_svg
    from napari_cytosae.core._names import ConceptNames
    from napari_cytosae.core.export import write_csv
    from napari_cytosae.core.files import atomic_file
    from napari_cytosae.core.resemblance import disease_concepts, resemblance
    from napari_cytosae.core.types import RESEARCH_USE

    table, _ = _diagnosed(barcodes, diagnoses)
    alike = resemblance(table.titles, table.values)
    matrix = alike.as_table(table)
    if table.note != RESEARCH_USE:  # drawn patients are called so in each file
        matrix["note"] = table.note
    tables = {"similarity.csv": matrix}
    if len({name for name in table.diagnosis if name}) < 2:
        say("There are fewer than two diagnoses: no disease_concepts.csv.")
    else:
        found = disease_concepts(table, top)
        names = ConceptNames(table.sae_sha256).as_dict()
        said = [names.get(int(concept), "") for concept in found["concept"]]
        found.insert(2, "name", said)
        tables["disease_concepts.csv"] = found.assign(note=table.note)
    for name, content in tables.items():
        with atomic_file(output / name) as temporary:
            write_csv(content, temporary)
        typer.echo(output / name)
    with atomic_file(output / "similarity.svg") as temporary:
        temporary.write_text(map_svg(alike, note=table.note), encoding="utf-8")
    typer.echo(output / "similarity.svg")
    finish(table.problems)


def _read(path: Path) -> Barcodes:
    from napari_cytosae.core._barcode_files import read_barcodes

    table = read_barcodes(path)
    if not table.sae_sha256:
        say("Caution: these barcodes do not say which SAE they are of.")
    if table.caveat:
        say(f"Note: {table.caveat}")
    return table


def _diagnosed(path: Path, diagnoses: Path | None) -> tuple[Barcodes, Diagnoses | None]:
    """Barcodes with the diagnoses of a table, where one is given."""
    from napari_cytosae.core._diagnoses import read_diagnoses

    table = _read(path)
    if diagnoses is None:
        return table, None
    known = read_diagnoses(diagnoses)
    return known.applied(table), known
