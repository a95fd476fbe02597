"""Vision transformers of any origin, under timm's names and with their geometry.

Knows DinoBloom's training checkpoints (``teacher``), Meta's DINOv2 and timm's own state
dicts. Everything is read off the tensors; a file's settings only decide what they cannot
tell (heads, input size).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_cytosae.core.types import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEAD_WIDTH = 64
IMAGE_SIZE = 224
"""Input side of every model here; hub configurations that say otherwise are ignored."""

WRAPPERS = ("teacher", "state_dict", "model")
PREFIXES = ("backbone.", "module.", "model.")
UNUSED = re.compile(r"^(mask_token$|head|fc_norm\.|norm\.|attn_pool\.)|dino_head|ibot_head")
RENAMED = {".mlp.w12.": ".mlp.fc1.", ".mlp.w3.": ".mlp.fc2."}
"""SwiGLU of the giant DINOv2: the same tensors under timm's names."""

MARK = "patch_embed.proj.weight"
"""The tensor every vision transformer has."""


@dataclass(frozen=True, slots=True)
class Found:
    """A backbone's tensors, and what `BackboneInfo` wants to know of them."""

    tensors: dict[str, torch.Tensor]
    fields: dict[str, Any]


def unwrapped(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state dict inside a training checkpoint."""
    for key in WRAPPERS:
        inner = payload.get(key)
        if isinstance(inner, dict):
            return inner
    return payload


def is_backbone(payload: Mapping[str, Any]) -> bool:
    """Tell whether a payload holds a vision transformer."""
    return any(str(name).endswith(MARK) for name in unwrapped(payload))


def file_in_folder(folder: Path) -> Path:
    """Return the weights in a folder as the hub lays it out."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        f"{folder} holds no model.safetensors; choose the weights file itself."
    )


def adapt(path: Path, payload: Mapping[str, Any], settings: Mapping[str, Any]) -> Found:
    """Bring a state dict to timm's names and infer the geometry.

    Parameters
    ----------
    path : Path
        For messages, and the name where the file gives none.
    payload : mapping
        State dict, bare or wrapped.
    settings : mapping
        Our own metadata, or empty.

    Raises
    ------
    CheckpointError
        Not a vision transformer with a class token, or tensors that disagree.
    """
    tensors = {
        name: tensor
        for name, tensor in _timm_names(unwrapped(payload)).items()
        if not UNUSED.search(name)
    }
    if not {MARK, "cls_token", "pos_embed", "blocks.0.norm1.weight"} <= tensors.keys():
        raise CheckpointError(
            f"{path} is not a vision transformer with a class token; choose a DinoBloom or "
            "DINOv2 backbone."
        )
    width, _, patch_size, _ = tensors[MARK].shape
    fields = {
        "name": settings.get("name") or path.name,
        "width": width,
        "depth": 1 + max(int(n.split(".")[1]) for n in tensors if n.startswith("blocks.")),
        "heads": settings.get("heads") or _heads(path, width),
        "patch_size": patch_size,
        "image_size": settings.get("image_size") or _image_size(path, tensors, patch_size),
    }
    for key in ("licence", "citation", "training_data"):
        fields[key] = settings.get(key, "")
    return Found(tensors, fields)


def _timm_names(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        for theirs, ours in RENAMED.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    return renamed


def _heads(path: Path, width: int) -> int:
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{path} is {width} wide, not a multiple of {HEAD_WIDTH}, so its attention "
            "heads cannot be told; save it with `save_backbone(..., heads=N)`."
        )
    return width // HEAD_WIDTH


def _image_size(path: Path, tensors: Mapping[str, torch.Tensor], patch_size: int) -> int:
    return IMAGE_SIZE
