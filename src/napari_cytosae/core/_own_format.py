"""Our own weights files: safetensors with JSON metadata that says what the model is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file

from napari_cytosae.core import _backbone_format, _sae_formats, _weights
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.types import SaeKind

KEY = "cytosae"
"""Key of the JSON text in the safetensors metadata."""

SCHEMA = 1
NEEDED = {"backbone": ("heads", "image_size"), "sae": ("layer", "d_in", "d_sae")}
"""Whole numbers that the metadata of each role must have."""

Storage = Literal["float32", "float16"]


def save_backbone(
    path: Path | str,
    tensors: Mapping[str, torch.Tensor],
    *,
    heads: int | None = None,
    image_size: int | None = None,
    storage: Storage = "float32",
    name: str = "",
    training_data: str = "",
    licence: str = "",
    citation: str = "",
) -> None:
    """Write a backbone as our own safetensors file.

    Parameters
    ----------
    path : Path or str
        Replaced when complete.
    tensors : mapping of str to Tensor
        A timm VisionTransformer's state dict, or DinoBloom's; heads are left out.
    heads, image_size : int, optional
        Attention heads (width / 64 by default) and input side in px (224 by default).
    storage : {"float32", "float16"}
        Precision on disk; it is always computed in float32.
    name, training_data, licence, citation : str
        What the file says of itself; the name is the file's stem by default.

    Raises
    ------
    CheckpointError
        Not a vision transformer, or not finite in `storage`.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    own = {
        "heads": heads,
        "image_size": image_size,
        "name": name or path.stem,
        "training_data": training_data,
        "licence": licence,
        "citation": citation,
    }
    found = _backbone_format.adapt(path, tensors, own, {})
    head = {"role": "backbone", "kind": "vit"}
    _write(path, found.tensors, head | found.fields, storage)


def save_sae(
    path: Path | str,
    tensors: Mapping[str, torch.Tensor],
    *,
    kind: SaeKind,
    layer: int,
    k: int | None = None,
    names: Mapping[int, str] | None = None,
    storage: Storage = "float32",
    name: str = "",
    backbone: str = "",
    training_data: str = "",
    licence: str = "",
    citation: str = "",
) -> None:
    """Write an SAE as our own safetensors file.

    Parameters
    ----------
    path : Path or str
        Replaced when complete.
    tensors : mapping of str to Tensor
        ``W_enc (d_in, d_sae)``, ``b_enc``, ``W_dec (d_sae, d_in)``, ``b_dec``; with
        ``threshold`` of shape (d_sae,) or () for jumprelu and batchtopk.
    kind : {"relu", "topk", "batchtopk", "jumprelu"}
        Activation rule, see `core.sae.Sae`.
    layer : int
        Index of the block whose output it reads; -2 for the last but one.
    k : int, optional
        Latents kept a token; needed for topk.
    names : mapping of int to str, optional
        Concept names to ship.
    storage : {"float32", "float16"}
        Precision on disk; it is always computed in float32.
    name, backbone, training_data, licence, citation : str
        What the file says of itself; the name is the file's stem by default, `backbone`
        that of the backbone it was trained on.

    Raises
    ------
    CheckpointError
        Tensors that do not make an SAE of this kind, or not finite in `storage`.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    own = {
        "kind": kind,
        "layer": layer,
        "k": k,
        "name": name or path.stem,
        "backbone": backbone,
        "training_data": training_data,
        "licence": licence,
        "citation": citation,
        "names": {str(concept): text for concept, text in sorted((names or {}).items())},
    }
    found = _sae_formats.adapt(path, _weights.Contents(dict(tensors)), own)
    written = {"role": "sae", **own, **found.fields}
    _write(path, found.tensors, written, storage)


def metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """Return our own metadata in a safetensors header; empty where there is none.

    Raises
    ------
    CheckpointError
        The metadata is damaged, or of a newer version of this package.
    """
    if KEY not in header:
        return {}
    try:
        own: dict[str, Any] = json.loads(header[KEY])
        schema, role = int(own["schema"]), own["role"]
        newer = schema > SCHEMA or role not in NEEDED
        whole = newer or all(isinstance(own[key], int) for key in NEEDED[role])
    except (ValueError, KeyError, TypeError):
        raise _weights.damaged(path) from None
    if not whole:
        raise _weights.damaged(path)
    if newer:
        raise CheckpointError(
            f"{path} was written by a newer napari-cytosae; update this one to open it."
        )
    return own


def _write(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    fields: dict[str, Any],
    storage: Storage,
) -> None:
    """Write tensors and their metadata, whole or not at all.

    Raises
    ------
    CheckpointError
        A value that is not finite, in the tensors or once rounded to `storage`.
    OutputError
        The file cannot be written.
    """
    dtype = getattr(torch, storage)
    stored = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in tensors.items()
    }
    require_finite(path, stored)
    own = {"schema": SCHEMA, **fields, "sha256": _sha256(stored)}
    with atomic_file(path) as temporary:
        save_file(stored, temporary, metadata={KEY: json.dumps(own)})


def verify(path: Path, own: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Check the tensors against the sum written beside them.

    Raises
    ------
    CheckpointError
        They differ.
    """
    if own and own.get("sha256") != _sha256(tensors):
        raise _weights.damaged(path)


def require_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Look at every value once.

    Raises
    ------
    CheckpointError
        One is NaN or infinite.
    """
    for name, tensor in tensors.items():
        # A bad value spoils the sum, which needs no memory; only an overflow does too.
        if not tensor.sum(dtype=torch.float32).isfinite() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path} has values in {name} that are not finite numbers; these weights "
                "are spoiled, fetch or train them again."
            )


def _sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        flat = tensors[name].contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
