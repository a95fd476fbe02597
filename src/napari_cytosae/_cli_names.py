"""``napari-cytosae names ...``: what several people say about concepts."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    help="What several people say about concepts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _root() -> None:
    """Keep the command's name: typer leaves it out where there is only one."""


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


def _text(table: pd.DataFrame) -> str:
    if not len(table):
        return "No concept was rated by two."
    return table.to_string(index=False, float_format="{:.2f}".format, na_rep="-")
