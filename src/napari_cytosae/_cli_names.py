"""``napari-cytosae names ...``: what you and others say about concepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae._cli_options import SaeReference  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    import pandas as pd

    from napari_cytosae.core.concepts import ConceptNames

app = typer.Typer(
    help="What you and others say about concepts: names, tags, notes, stars, ratings.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Target = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help=".csv: a table of names, the SAE's own too; else JSON with your own words, "
        "ratings and history.",
    ),
]
Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", help="Names as exported here or in napari, JSON or CSV."
    ),
]


@app.command("export")
def export(target: Target, sae: SaeReference = "starter") -> None:
    """Save what you say of an SAE's concepts, for a colleague."""
    from napari_cytosae.core.name_exchange import export_names

    typer.echo(export_names(_names_of(sae), target))


@app.command("import")
def import_(files: Sources, sae: SaeReference = "starter") -> None:
    """Take over what colleagues say of an SAE's concepts.

    Where two names or notes differ yours stand, and theirs are kept in the history.
    """
    from napari_cytosae.core.name_exchange import merge_names

    names = _names_of(sae)
    for path in files:
        typer.echo(f"{path.name}: {merge_names(names, path)}")


@app.command()
def merge(
    files: Sources,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="What all of them say: .csv or JSON. Your own names stay as they are.",
        ),
    ],
) -> None:
    """Make one file of several people's; where two differ, the first one stands."""
    from napari_cytosae.core.name_exchange import merge_files

    for path, merged in merge_files(files, output).items():
        typer.echo(f"{path.name}: {merged}")
    typer.echo(output)


@app.command()
def agreement(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Names as exported in napari, JSON or CSV, of one SAE. Each brings the "
            "ratings in it; without any, its tags are those of a rater called as the file.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Also write agreement.csv, agreement_by_tag.csv and disagreements.csv.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say how far raters agree beyond chance (Cohen's kappa), in all and tag by tag."""
    from napari_cytosae.core.name_exchange import read_ratings
    from napari_cytosae.core.rating import agreement, agreement_by_tag, disagreements
    from napari_cytosae.core.types import CytoError

    ratings = read_ratings(files)
    if len(ratings) < 2:
        raise CytoError(f"Only {', '.join(ratings) or 'nobody'} rated: give two files.")
    pairs, tags = agreement(ratings), agreement_by_tag(ratings)
    typer.echo(_text(pairs))
    typer.echo()
    typer.echo(_text(tags))
    if output is not None:
        from napari_cytosae.core.export import write_csv
        from napari_cytosae.core.files import atomic_file

        output.mkdir(parents=True, exist_ok=True)
        tables = {
            "agreement": pairs,
            "agreement_by_tag": tags,
            "disagreements": disagreements(ratings).reset_index(),
        }
        for name, table in tables.items():
            with atomic_file(output / f"{name}.csv") as temporary:
                write_csv(table, temporary)


def _names_of(sae: str) -> ConceptNames:
    """Your names of an SAE's concepts; its weights are not taken into memory."""
    from napari_cytosae.core import registry
    from napari_cytosae.core.checkpoints import read_names
    from napari_cytosae.core.concepts import ConceptNames

    info, shipped = read_names(registry.resolve(sae, "sae"))
    return ConceptNames(info.sha256, shipped, d_sae=info.d_sae)


def _text(table: pd.DataFrame) -> str:
    if not len(table):
        return "No concept was rated by two."
    return table.to_string(index=False, float_format="{:.2f}".format, na_rep="-")
