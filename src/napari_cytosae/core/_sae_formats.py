"""Sparse autoencoders of any origin, under one set of names.

Each adapter knows one format and says None for all others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import torch

from napari_cytosae.core import _weights
from napari_cytosae.core.types import CheckpointError, SaeKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True, slots=True)
class Found:
    """An SAE's tensors, its concept names, and what `SaeInfo` wants to know of it."""

    tensors: dict[str, torch.Tensor]
    fields: dict[str, Any]
    names: dict[int, str] = field(default_factory=dict)


def is_sae(payload: Mapping[str, Any]) -> bool:
    """Tell whether a payload holds a sparse autoencoder."""
    return "W_enc" in payload or "W_enc" in (payload.get("state_dict") or {})


def adapt(path: Path, contents: _weights.Contents, settings: Mapping[str, Any]) -> Found:
    """Bring an SAE to the names and the orientation used here.

    Parameters
    ----------
    path : Path
        For messages, and the name where the file gives none.
    contents : Contents
    settings : mapping
        Our own metadata, or empty.

    Raises
    ------
    CheckpointError
        Not an SAE, of an unknown kind, or with shapes that disagree.
    """
    found = _own(contents, settings) if settings else _published(contents)
    if found is None:
        raise CheckpointError(
            f"{path} is not a sparse autoencoder of a format known here; choose a CytoSAE "
            "or PatchSAE .pt or an SAE saved as .safetensors."
        )
    found.fields["d_in"], found.fields["d_sae"] = _shapes(path, found)
    found.fields["name"] = found.fields.get("name") or path.name
    return found


def _own(contents: _weights.Contents, settings: Mapping[str, Any]) -> Found:
    keys = (
        "kind",
        "layer",
        "k",
        "name",
        "backbone",
        "licence",
        "citation",
        "training_data",
    )
    fields = {key: settings[key] for key in keys if key in settings}
    names = {int(key): str(text) for key, text in settings.get("names", {}).items()}
    tensors = {
        name: contents.payload[name]
        for name in (*NAMES, "threshold")
        if name in contents.payload
    }
    return Found(tensors, fields, names)


def _published(contents: _weights.Contents) -> Found | None:
    """CytoSAE and PatchSAE: ``{"cfg" or "config": run configuration, "state_dict"}``."""
    state = contents.payload.get("state_dict")
    if not isinstance(state, dict) or not set(NAMES) <= state.keys():
        return None
    config = _weights.as_config(
        contents.payload.get("cfg") or contents.payload.get("config")
    )
    fields = {
        "kind": "relu",
        "layer": int(config.get("block_layer", -2)),
        "backbone": str(config.get("model_name", "")),
    }
    return Found({name: state[name] for name in NAMES}, fields)


def _shapes(path: Path, found: Found) -> tuple[int, int]:
    kind, tensors = found.fields["kind"], found.tensors
    if kind not in get_args(SaeKind):
        raise CheckpointError(
            f"{path} is an SAE of kind {kind}, which is not known here; known are "
            f"{', '.join(get_args(SaeKind))}."
        )
    if not set(NAMES) <= tensors.keys() or tensors["W_enc"].ndim != 2:
        raise CheckpointError(
            f"{path} lacks one of {', '.join(NAMES)}; choose a whole SAE checkpoint."
        )
    d_in, d_sae = tensors["W_enc"].shape
    wanted = {
        "W_enc": (d_in, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
    }
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"{path} has {name} of shape {tuple(tensors[name].shape)} where W_enc asks "
                f"for {shape}; the file mixes two SAEs, fetch it again."
            )
    if kind in ("jumprelu", "batchtopk") and "threshold" not in tensors:
        raise CheckpointError(
            f"{path} is a {kind} SAE without threshold; save it with one."
        )
    if kind == "topk" and not 0 < int(found.fields.get("k") or 0) <= d_sae:
        raise CheckpointError(f"{path} is a topk SAE without a valid k; save it with one.")
    return d_in, d_sae
