"""``napari-cytosae models ...``: what is here, what can be had, and carrying it about."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cytosae._cli_console import BAD_INPUT, drive, reason, say

if TYPE_CHECKING:
    from napari_cytosae.core.known_models import ModelEntry, Role
    from napari_cytosae.core.types import BackboneInfo, SaeInfo

app = typer.Typer(
    help="Backbones and sparse autoencoders: list, get, look into, convert, carry.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AcceptChange = Annotated[
    bool,
    typer.Option(
        "--accept-change",
        help="Take a file that differs from the one remembered under its name.",
    ),
]


@app.command("list")
def list_() -> None:
    """Show every known model: size, licence, and where it is."""
    from napari_cytosae.core.registry import list_models, models_folder

    rows = [("NAME", "ROLE", "STATE", "SIZE", "LICENCE", "PATH")]
    for status in list_models():
        here = status.state != "not here"
        rows.append(
            (
                status.entry.name,
                status.entry.role or "",
                status.state,
                _size(status.size, exact=here),
                status.entry.licence,
                str(status.path) if here else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    typer.echo(
        f"\nnapari-cytosae models get NAME brings one to {models_folder()}; weights files "
        "put there can be used by their name."
    )


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="From `models list`, or hf-hub:owner/name.")],
    accept_change: AcceptChange = False,
) -> None:
    """Download a model and whatever it needs; what has arrived before is kept.

    cytosae brings its backbone DinoBloom-B too.
    """
    from napari_cytosae.core.registry import download, find_entry, status

    entry = find_entry(name)
    entries = [*map(find_entry, entry.needs), entry]
    for entry in entries:
        _announce(entry)
    drive(download(name, accept_change=accept_change))
    for entry in entries:
        here = status(entry)
        line = f"{here.path}  {_size(here.size)}"
        typer.echo(f"{line}  sha256 {here.sha256}" if here.sha256 else line)


@app.command()
def info(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Files, names or hub ids.")
    ],
) -> None:
    """Say what weights files hold, without running them."""
    from napari_cytosae.core import checkpoints

    bad = 0
    for text in paths:
        try:
            for path in _files(text):
                _describe(checkpoints.inspect(path))
        except Exception as error:
            bad += 1
            say(reason(error))
    if bad:
        raise typer.Exit(BAD_INPUT)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="File, name or hub id.")],
    target: Annotated[Path, typer.Argument(metavar="DST.safetensors")],
) -> None:
    """Write any weights this package reads as one safetensors file with metadata."""
    from napari_cytosae.core import checkpoints

    if target.suffix.lower() != ".safetensors":
        raise typer.BadParameter("the new file's name must end in .safetensors")
    if len(_roles(source)) > 1:
        raise typer.BadParameter(f"{source} stands for two files; give the path of one")
    _describe(checkpoints.convert(_files(source)[0], target))


@app.command()
def pack(
    name: Annotated[str, typer.Argument(help="A downloaded model.")],
    target: Annotated[Path, typer.Argument(metavar="FILE.zip")],
) -> None:
    """Write a downloaded model, and whatever it needs, into one zip file."""
    from napari_cytosae.core.packing import pack as write_pack

    typer.echo(drive(write_pack(name, target)))


@app.command()
def unpack(
    source: Annotated[Path, typer.Argument(metavar="FILE.zip")],
    accept_change: AcceptChange = False,
) -> None:
    """Take the models out of a pack, each checked, on a machine without internet."""
    from napari_cytosae.core.packing import unpack as read_pack

    for path in drive(read_pack(source, accept_change=accept_change)):
        typer.echo(path)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete them.")] = False,
) -> None:
    """Say how many encoded cells are kept for next time, and where.

    What was not used for longest goes when the folder is full: CYTOSAE_CACHE_MB sets its
    size in megabytes, and 0 keeps nothing.
    """
    from napari_cytosae.core.cache import Cache, cache_folder

    kept = Cache(cache_folder(), 0)
    if clear:
        kept.clear()
    count, size = kept.usage()
    typer.echo(f"{kept.folder}  {count:,} cells  {size / 1e6:,.1f} MB")


def _announce(entry: ModelEntry) -> None:
    """Say what is about to come, and under which terms, before it does."""
    for line in (
        f"{entry.name}: {entry.title}, {_size(entry.size, exact=False)}",
        f"  from      {entry.url or 'the package itself'}",
        f"  licence   {entry.licence}",
        f"  citation  {entry.citation}",
    ):
        typer.echo(line, err=True)


def _files(text: str) -> list[Path]:
    """Return the files a path, name or hub id stands for (the starter has two)."""
    from napari_cytosae.core.registry import find_entry, resolve
    from napari_cytosae.core.types import CheckpointError

    if roles := _roles(text):
        return [resolve(text, role) for role in roles]
    try:
        return [resolve(text, "backbone")]
    except CheckpointError:
        # Of a name that nothing has, the sentence that lists those of both roles.
        find_entry(text)
        raise


def _roles(name: str) -> list[Role]:
    """Return the roles of a registered name; none for anything else."""
    from napari_cytosae.core.known_models import KNOWN

    return [entry.role for entry in KNOWN if entry.name == name.lower() and entry.role]


def _describe(found: BackboneInfo | SaeInfo) -> None:
    from dataclasses import asdict

    role = "backbone" if hasattr(found, "width") else "sae"
    typer.echo(f"{found.source}")
    for key, value in {"role": role, **asdict(found)}.items():
        if key == "licence" and not value:
            value = "not stated"
        if key != "source" and value not in ("", None):
            typer.echo(f"  {key.replace('_', ' '):<14} {value}")


def _size(size: int, exact: bool = True) -> str:
    if not size:
        return "size unknown"
    return f"{'' if exact else 'about '}{size / 1e6:,.1f} MB"
