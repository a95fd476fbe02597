"""Vision transformers of any origin, under timm's names and with their geometry.

Knows DinoBloom's training checkpoints (``teacher``), Meta's DINOv2 and timm's own state
dicts. Geometry is read off the tensors; a file's settings only say what these cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import timm
import torch

from napari_cytosae.core.types import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEAD_WIDTH = 64
IMAGE_SIZE = 224
"""Input side where a file does not say otherwise; hub configurations are not asked, the
DinoBloom ports carry DINOv2's 518 px."""

WRAPPERS = ("teacher", "state_dict", "model")
PREFIX = re.compile(r"^((backbone|module|model)\.)+")
UNUSED = re.compile(r"^(mask_token$|head|fc_norm\.|norm\.)|dino_head|ibot_head")
RENAMED = {".mlp.w12.": ".mlp.fc1.", ".mlp.w3.": ".mlp.fc2."}
"""The giant DINOv2's SwiGLU: the same tensors under timm's names."""

PATCHES = "patch_embed.proj.weight"
"""The tensor that every vision transformer has, and nothing else."""

NEEDED = {
    PATCHES: 4,
    "cls_token": 3,
    "pos_embed": 3,
    "blocks.0.norm1.weight": 1,
    "blocks.0.mlp.fc1.weight": 2,
    "blocks.0.mlp.fc2.weight": 2,
}
"""What the geometry is read off, and the dimensions of each."""

BLOCK = re.compile(r"^blocks\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Found:
    """A backbone's tensors, and what `BackboneInfo` wants to know of it."""

    tensors: dict[str, torch.Tensor]
    fields: dict[str, Any]


def is_backbone(payload: Mapping[str, Any]) -> bool:
    """Tell whether a payload holds a vision transformer."""
    return any(str(name).endswith(PATCHES) for name in _unwrapped(payload))


def adapt(
    path: Path,
    payload: Mapping[str, Any],
    own: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Found:
    """Bring a state dict to timm's names and infer the geometry.

    Parameters
    ----------
    path : Path
        For messages, and the name where the file gives none.
    payload : mapping
        State dict, bare or inside a training checkpoint.
    own : mapping
        Our own metadata, or empty.
    settings : mapping
        The hub's ``config.json``, or empty.

    Returns
    -------
    Found
        Without mask token, final norm and heads.

    Raises
    ------
    CheckpointError
        Not a vision transformer with a class token, or its heads cannot be told.
    """
    tensors = {
        name: tensor
        for name, tensor in _timm_names(_unwrapped(payload)).items()
        if not UNUSED.search(name)
    }
    if not (
        NEEDED.keys() <= tensors.keys()
        and all(tensors[name].ndim == ndim for name, ndim in NEEDED.items())
        and all(tensors[PATCHES].shape)
    ):
        raise CheckpointError(
            f"{path} is not a vision transformer with a class token; choose a DinoBloom or "
            "DINOv2 backbone."
        )
    blocks = {int(match[1]) for match in map(BLOCK.match, tensors) if match}
    if blocks != set(range(len(blocks))):
        raise CheckpointError(
            f"{path} lacks some of the blocks of its vision transformer; fetch it again."
        )
    width, _, patch_size, _ = tensors[PATCHES].shape
    heads = own.get("heads") or _heads(path, width, settings)
    if width % heads:
        raise CheckpointError(
            f"{path} is {width} wide, which {heads} attention heads cannot share; fetch it "
            "again with its own config.json."
        )
    return Found(
        tensors,
        {
            "name": own.get("name") or path.name,
            "width": width,
            "depth": len(blocks),
            "heads": heads,
            "patch_size": patch_size,
            "image_size": own.get("image_size") or IMAGE_SIZE,
            "licence": own.get("licence", ""),
            "citation": own.get("citation", ""),
            "training_data": own.get("training_data", ""),
        },
    )


def _unwrapped(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in WRAPPERS:
        inner = payload.get(key)
        if isinstance(inner, dict):
            return inner
    return payload


def _timm_names(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in state.items():
        if isinstance(tensor, torch.Tensor):
            ours = PREFIX.sub("", str(name))
            for theirs, timms in RENAMED.items():
                ours = ours.replace(theirs, timms)
            renamed[ours] = tensor
    return renamed


def _heads(path: Path, width: int, settings: Mapping[str, Any]) -> int:
    """Heads of the architecture a hub configuration names, else one for each 64 wide."""
    architecture = settings.get("architecture")
    if isinstance(architecture, str) and timm.is_model(architecture):
        with torch.device("meta"):
            blocks = getattr(timm.create_model(architecture), "blocks", None)
        if blocks is not None:
            return int(blocks[0].attn.num_heads)
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{path} is {width} wide, no multiple of {HEAD_WIDTH}, so its attention heads "
            "cannot be told; put the hub's config.json beside it."
        )
    return width // HEAD_WIDTH
