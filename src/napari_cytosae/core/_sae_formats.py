"""Sparse autoencoders of any origin, under one set of names and one formula.

Each adapter knows one format and returns None for all others. What they bring home obeys
``pre = (x - b_dec) @ W_enc + b_enc``, see `core.sae.Sae`; formats with another formula are
rewritten to it exactly, or refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_cytosae.core import _weights
from napari_cytosae.core._sae_shapes import NAMES, require_shapes
from napari_cytosae.core.training_task import STATE_ENDING
from napari_cytosae.core.types import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import torch

    from napari_cytosae.core._weights import Contents

MARKS = ("W_enc", "dictionary._weights")
"""Tensors that only an SAE has: of everybody, and of overcomplete."""

DEFAULT_LAYER = -2
"""Where a format does not say which block: the one CytoSAE reads."""


@dataclass(frozen=True, slots=True)
class Found:
    """An SAE's tensors, its concept names, and what `SaeInfo` wants to know of it."""

    tensors: dict[str, torch.Tensor]
    fields: dict[str, Any]
    names: dict[int, str] = field(default_factory=dict)


def is_sae(payload: Mapping[str, Any]) -> bool:
    """Tell whether a payload holds a sparse autoencoder."""
    state = _state(payload)
    return any(mark in state for mark in MARKS)


def adapt(path: Path, contents: Contents, own: Mapping[str, Any]) -> Found:
    """Bring an SAE to the names and the formula used here.

    Parameters
    ----------
    path : Path
        For messages, and the name where the file gives none.
    contents : Contents
        As `_weights.read` gives them.
    own : mapping
        Our own metadata, or empty.

    Raises
    ------
    CheckpointError
        Not an SAE, of an unknown kind, or with shapes that disagree.
    """
    adapters: tuple[Callable[[Contents], Found | None], ...] = (
        _saelens,
        _saev,
        _overcomplete,
        _published,
    )
    try:
        tries = (adapter(contents) for adapter in adapters)
        found = _own(contents, own) if own else next(filter(None, tries), None)
    except _UnknownVariantError as error:
        raise CheckpointError(f"{path} {error}.") from None
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise CheckpointError(
            f"{path} has settings or tensors that do not fit together; fetch it again."
        ) from None
    if found is None and path.name.endswith(STATE_ENDING):
        raise CheckpointError(
            f"{path} holds an interrupted training, no SAE yet: finish it with "
            "`napari-cytosae train-sae --resume`."
        )
    if found is None:
        raise CheckpointError(
            f"{path} is an SAE of a format that is not known here; save it with "
            "`napari_cytosae.core.checkpoints.save_sae`."
        )
    d_in, d_sae = require_shapes(path, found.fields, found.tensors)
    name = found.fields.get("name") or path.name
    return Found(
        found.tensors,
        {**found.fields, "name": name, "d_in": d_in, "d_sae": d_sae},
        found.names,
    )


class _UnknownVariantError(Exception):
    """A format that is known, in a variant that is not; completes "the file ..."."""


def _state(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = payload.get("state_dict")
    return inner if isinstance(inner, dict) else payload


def _floats(state: Mapping[str, Any], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of `names` that are there, in float32; not copied where they are already."""
    return {name: state[name].detach().float() for name in names if name in state}


def _own(contents: Contents, own: Mapping[str, Any]) -> Found:
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
    tensors = _floats(contents.payload, (*NAMES, "threshold"))
    names = {int(key): str(text) for key, text in own.get("names", {}).items()}
    return Found(tensors, {key: own[key] for key in keys if key in own}, names)


def _published(contents: Contents) -> Found | None:
    """CytoSAE and PatchSAE: ``{"cfg" or "config": run configuration, "state_dict"}``."""
    state = _state(contents.payload)
    if not set(NAMES) <= state.keys() or state is contents.payload:
        return None
    config = _weights.run_config(contents.payload)
    if config.get("gated_sae"):
        raise _UnknownVariantError(
            "is a gated SAE, which is not known here; use a ReLU one"
        )
    fields = {
        "kind": "relu",
        "layer": int(config.get("block_layer", DEFAULT_LAYER)),
        "backbone": str(config.get("model_name", "")),
    }
    return Found(_floats(state, NAMES), fields)


def _saelens(contents: Contents) -> Found | None:
    """SAELens: safetensors with ``cfg.json`` beside it, its names already ours."""
    config, state = contents.settings, contents.payload
    if "W_enc" not in state or not {"d_in", "d_sae"} <= config.keys():
        return None
    kind, k = config.get("architecture", "standard"), config.get("k")
    if config.get("activation_fn_str", config.get("activation_fn")) == "topk":
        kind, k = "topk", config.get("activation_fn_kwargs", {}).get("k", k)
    kinds = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu"}
    if kind not in kinds:
        raise _UnknownVariantError(
            f"is a SAELens SAE of architecture {kind}; known here are standard, topk and "
            "jumprelu (batchtopk is saved as jumprelu)"
        )
    for option in ("normalize_activations", "reshape_activations"):
        if config.get(option) not in (None, False, "none"):
            raise _UnknownVariantError(
                f"asks for {option}={config[option]}, which is not known here; fold it "
                "into the weights with SAELens and save it again"
            )
    tensors = _floats(state, (*NAMES, "threshold"))
    if not config.get("apply_b_dec_to_input", True):
        tensors = _centred(tensors)
    if config.get("rescale_acts_by_decoder_norm"):
        norm = tensors["W_dec"].norm(dim=1)
        tensors["W_enc"] = tensors["W_enc"] * norm
        tensors["b_enc"] = tensors["b_enc"] * norm
        tensors["W_dec"] = tensors["W_dec"] / norm[:, None]
    about = {**config, **(config.get("metadata") or {})}
    fields = {
        "kind": kinds[kind],
        "k": k,
        "layer": _hooked(about),
        "backbone": str(about.get("model_name") or ""),
        "training_data": str(about.get("dataset_path") or ""),
    }
    return Found(tensors, fields)


def _hooked(about: Mapping[str, Any]) -> int:
    """The block whose output a SAELens SAE reads."""
    hook = str(about.get("hook_name") or "")
    if not hook:
        return int(about.get("hook_layer", DEFAULT_LAYER))
    found = re.search(r"blocks\.(\d+)\.hook_resid_(pre|post)$", hook)
    # What goes into a block comes out of the one before.
    layer = int(found[1]) - (found[2] == "pre") if found else -1
    if layer < 0:
        raise _UnknownVariantError(
            f"reads {hook}; use one that reads a block's output, blocks.N.hook_resid_post"
        )
    return layer


def _saev(contents: Contents) -> Found | None:
    """saev: a JSON line, then the state dict; the encoder reads x itself, not x - b_dec."""
    header, state = contents.settings, contents.payload
    config = header.get("cfg", header)
    if not set(NAMES) <= state.keys() or not {"d_vit", "d_model"} & config.keys():
        return None
    # Schema 1 named the activation at the top; from then on it has its own entry.
    activation = config.get("activation") or {"cls": header.get("cls"), "params": config}
    kind = {"TopK": "topk", "BatchTopK": "topk"}.get(activation["cls"] or "", "relu")
    tensors = _centred(_floats(state, NAMES))
    if "activation.threshold" in state:
        kind = "batchtopk"
        tensors["threshold"] = state["activation.threshold"].clamp(min=0)
    k = activation["params"].get("top_k", 32) if kind == "topk" else None
    return Found(tensors, {"kind": kind, "k": k, "layer": DEFAULT_LAYER})


def _overcomplete(contents: Contents) -> Found | None:
    """overcomplete: a linear encoder, batch norm folded in, and a dictionary of unit rows.

    The state dict does not say which SAE it is: thresholds make it a JumpSAE, `top_k` (in
    the file beside ``state_dict``, or in settings beside the file) a TopKSAE.
    """
    state = _state(contents.payload)
    if "dictionary._weights" not in state:
        return None
    state = _floats(state, state)
    dictionary = state["dictionary._weights"]
    scale = state["dictionary.multiplier"].exp() if "dictionary.multiplier" in state else 1
    decoder = dictionary / dictionary.norm(dim=1, keepdim=True) * scale
    encoder, bias = _overcomplete_encoder(state, decoder)
    tensors = {
        "W_enc": encoder.t().contiguous(),
        "b_enc": bias,
        "W_dec": decoder,
        "b_dec": decoder.new_zeros(decoder.shape[1]),
    }
    k = contents.payload.get("top_k", contents.settings.get("top_k"))
    kind = "relu" if k is None else "topk"
    if "thresholds" in state:
        kind, tensors["threshold"] = "jumprelu", state["thresholds"].exp()
    return Found(tensors, {"kind": kind, "k": k, "layer": DEFAULT_LAYER})


def _overcomplete_encoder(
    state: Mapping[str, Any], decoder: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    zeros = decoder.new_zeros(len(decoder))
    if "encoder.final_block.0.weight" not in state:
        weight = state.get("encoder.weight")
        return decoder if weight is None else weight, state.get("encoder.bias", zeros)
    if any(name.startswith("encoder.mlp_blocks") for name in state):
        raise _UnknownVariantError("has an encoder of several layers; use a linear one")
    weight, bias = (state[f"encoder.final_block.0.{name}"] for name in ("weight", "bias"))
    norm = {
        name.removeprefix("encoder.final_block.1."): tensor
        for name, tensor in state.items()
        if name.startswith("encoder.final_block.1.")
    }
    if not norm:
        return weight, bias
    if "running_var" not in norm:
        raise _UnknownVariantError("has a layer norm after its encoder; use a linear one")
    gain = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
    return weight * gain[:, None], (bias - norm["running_mean"]) * gain + norm["bias"]


def _centred(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rewrite ``x @ W_enc + b_enc`` as ``(x - b_dec) @ W_enc + b_enc'``."""
    shift = tensors["b_dec"] @ tensors["W_enc"]
    return {**tensors, "b_enc": tensors["b_enc"] + shift}
