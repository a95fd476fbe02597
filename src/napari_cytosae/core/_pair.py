"""Finding and opening the two files that make `Models`, and checking that they fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_cytosae.core import checkpoints, registry
from napari_cytosae.core.backbone import resolve_layer
from napari_cytosae.core.types import (
    BackboneInfo,
    CheckpointError,
    CytoError,
    ModelMismatchError,
    SaeInfo,
)

if TYPE_CHECKING:
    from napari_cytosae.core.checkpoints import BackboneFile, SaeFile

Info = TypeVar("Info", BackboneInfo, SaeInfo)

DINOBLOOM = {384: "S", 768: "B", 1024: "L", 1536: "G"}
"""DinoBloom's sizes by their width, for the message when an SAE does not fit."""


def open_pair(backbone: str | Path, sae: str | Path) -> tuple[BackboneFile, SaeFile]:
    """Find and open a backbone and an SAE, and check that they fit.

    Raises
    ------
    CheckpointError
        A file that is missing, damaged or of the wrong kind.
    ModelMismatchError
        The SAE does not read this backbone's tokens, or not at a block it has.
    """
    backbone_file = checkpoints.open_backbone(registry.resolve(backbone, "backbone"))
    sae_file = checkpoints.open_sae(registry.resolve(sae, "sae"))
    backbone_info = _described(backbone_file.info, backbone, "backbone")
    sae_info = _described(sae_file.info, sae, "sae")
    require_fit(backbone_info, sae_info)
    return replace(backbone_file, info=backbone_info), replace(sae_file, info=sae_info)


def require_fit(backbone: BackboneInfo, sae: SaeInfo) -> None:
    """Check that an SAE reads tokens of this backbone's width, at a block it has.

    Raises
    ------
    ModelMismatchError
        It does not; the message says which backbone would fit.
    """
    if sae.d_in != backbone.width:
        raise ModelMismatchError(
            f"SAE {sae.name} reads {sae.d_in}-wide tokens of block {sae.layer}; backbone "
            f"{backbone.name} gives {backbone.width}-wide ones; use "
            f"{_fitting(sae)} with this SAE."
        )
    if "starter" in (sae.backbone, backbone.name) and sae.backbone not in (
        "",
        backbone.name,
    ):
        raise ModelMismatchError(
            f"SAE {sae.name} was trained on {sae.backbone}, not on {backbone.name}; use "
            f"{_fitting(sae)} with this SAE."
        )
    try:
        resolve_layer(backbone, sae.layer)
    except ModelMismatchError as error:
        raise ModelMismatchError(
            f"SAE {sae.name} reads block {sae.layer}, but backbone {backbone.name} has "
            f"{backbone.depth} blocks only; use {_fitting(sae)} with this SAE."
        ) from error


def _fitting(sae: SaeInfo) -> str:
    """The backbone an SAE says it was made for, else DinoBloom of its width."""
    # CytoSAE names the architecture, whose weights are DinoBloom's.
    if sae.d_in in DINOBLOOM and (not sae.backbone or "dinov2" in sae.backbone):
        return f"DinoBloom-{DINOBLOOM[sae.d_in]}"
    return sae.backbone or f"a {sae.d_in}-wide backbone"


def pick_device(wanted: str) -> torch.device:
    """Return the device of that name; for ``auto`` a GPU where there is one.

    Raises
    ------
    CytoError
        This machine has no such device.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there.get(wanted, False):
        known = ", ".join(name for name, found in there.items() if found)
        raise CytoError(f"There is no device {wanted} here; use one of auto, {known}.")
    return torch.device(wanted)


def _described(info: Info, reference: str | Path, role: checkpoints.Role) -> Info:
    """Let a registered model go by its registered name and terms."""
    if isinstance(reference, Path) or Path(reference).exists():
        return info
    try:
        entry = registry.find_entry(reference, role)
    except CheckpointError:
        return info
    return replace(
        info,
        name=entry.name,
        licence=info.licence or entry.licence,
        citation=info.citation or entry.citation,
    )
