"""Options that several commands share, and their checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from napari_cytosae.core.types import CELL_KINDS, EXTRAS, CytoError

if TYPE_CHECKING:
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import CellKind


class Device(StrEnum):
    """Where the models run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class PrecisionChoice(StrEnum):
    """Number format of the matrix products."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


def _positive(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter("give a number above 0")
    return value


def _not_negative(value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter("give a number of 0 or more")
    return value


def parse_kinds(text: str) -> str:
    """Check a list like ``wbc,rbc``."""
    kinds = [part.strip().lower() for part in text.split(",")]
    for kind in kinds:
        if kind not in CELL_KINDS:
            raise typer.BadParameter(f"{kind!r} is none of {', '.join(CELL_KINDS)}")
    return ",".join(dict.fromkeys(kinds))


def cell_kinds(text: str) -> tuple[CellKind, ...]:
    """What `parse_kinds` let through."""
    return cast("tuple[CellKind, ...]", tuple(text.split(",")))


def parse_concepts(text: str | None) -> str | None:
    """Check a list like ``12,55``."""
    if text is None:
        return None
    try:
        concepts = [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of concept numbers like 12,55"
        ) from None
    if min(concepts) < 0:
        raise typer.BadParameter("concept numbers start at 0")
    return ",".join(map(str, dict.fromkeys(concepts)))


def parse_extras(text: str | None) -> str | None:
    """Names of `core.types.EXTRAS` with commas, or ``all``."""
    if text is None:
        return None
    wanted = [name.strip() for name in text.split(",")]
    if wanted == ["all"]:
        return ",".join(EXTRAS)
    for name in wanted:
        if name not in EXTRAS:
            known = ", ".join(EXTRAS)
            raise typer.BadParameter(f"{name!r} is none of {known}, all")
    return ",".join(dict.fromkeys(wanted))


Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE",
        help="PNG, JPEG, BMP, TIFF, OME-TIFF, OME-Zarr; a folder: the images in it.",
        show_default=False,
    ),
]
SingleCellImages = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE",
        help="Images of single cells; a folder stands for all images below it (the name "
        "of the folder an image is in is its label), a CSV for its columns image, label.",
        show_default=False,
    ),
]
SingleCell = Annotated[
    bool, typer.Option("--single-cell", help="Each image shows one cell.")
]
Output = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="DIR", help="Folder for the results, made if missing."
    ),
]
PixelSizeUm = Annotated[
    float | None,
    typer.Option(
        "--pixel-size",
        metavar="UM",
        help="Micrometres a pixel; else from the file, or estimated from its red cells.",
        callback=_positive,
        show_default=False,
    ),
]
Kinds = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help=f"Cells to find, of {', '.join(CELL_KINDS)}; with commas.",
        callback=parse_kinds,
    ),
]
Also = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help=f"Write more: {', '.join(EXTRAS)}, with commas, or all. Overlays and figures "
        "are those of --concepts.",
        callback=parse_extras,
        show_default=False,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        help="Vision transformer: a name of `models list`, hub id or path "
        "[default: the SAE's own, else starter]",
        show_default=False,
    ),
]
SaeReference = Annotated[
    str, typer.Option("--sae", metavar="R", help="Sparse autoencoder: a name or path.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where the models run.")]
PrecisionOption = Annotated[
    PrecisionChoice,
    typer.Option(
        help="Number format of the matrix products; auto takes the fastest that agrees."
    ),
]
Threshold = Annotated[
    float,
    typer.Option(
        metavar="T", help="Activation above which a patch counts.", callback=_not_negative
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Encode every cell anew, and keep none for next time (see `models cache`).",
    ),
]
# Taken by whatever encodes, so that one line of options serves all commands.
UnusedThreshold = Annotated[
    float, typer.Option("--threshold", callback=_not_negative, hidden=True)
]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What the user said of the models; loads them once, when the first image is there."""

    backbone: str | None
    sae: str
    device: Device
    precision: PrecisionChoice

    def load(self) -> Models:
        """Load the pair.

        Raises
        ------
        CheckpointError
            If one is missing or they do not fit.
        """
        from napari_cytosae.core.loading import load_models

        return load_models(
            *self.references(),
            device=self.device.value,
            precision=self.precision.value,
        )

    def references(self) -> tuple[str, str]:
        """Backbone and SAE, files by their whole path: another process finds them too."""
        from napari_cytosae.core.registry import backbone_for

        pair = (self.backbone or backbone_for(self.sae), self.sae)
        backbone, sae = (
            str(Path(one).resolve()) if Path(one).is_file() else one for one in pair
        )
        return backbone, sae


def require_concepts(concepts: list[int], models: Models) -> None:
    """Check concepts against the SAE before any image is encoded.

    Raises
    ------
    CytoError
        Naming the first that the SAE does not have.
    """
    info = models.sae_info
    for concept in concepts:
        if concept >= info.d_sae:
            raise CytoError(
                f"{info.name} has no concept {concept}: its concepts are 0 to "
                f"{info.d_sae - 1}."
            )
