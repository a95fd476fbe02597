"""The tensors that a sparse autoencoder is made of, and their shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

from napari_cytosae.core.types import CheckpointError, SaeKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


def require_shapes(
    path: Path, fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> tuple[int, int]:
    """Check that tensors are those of one SAE.

    Parameters
    ----------
    path : Path
        For messages.
    fields : mapping
        What is known of the SAE: its kind, and k of a topk one.
    tensors : mapping of str to Tensor
        By `NAMES`, and a threshold.

    Returns
    -------
    d_in, d_sae : int

    Raises
    ------
    CheckpointError
        Of an unknown kind, or with tensors that are missing or do not fit each other.
    """
    kind = fields.get("kind")
    if kind not in get_args(SaeKind):
        raise CheckpointError(
            f"{path} is an SAE of kind {kind}; known are {', '.join(get_args(SaeKind))}."
        )
    missing = [name for name in NAMES if name not in tensors]
    if kind in ("jumprelu", "batchtopk") and "threshold" not in tensors:
        missing.append("threshold")
    if missing or tensors["W_enc"].ndim != 2:
        raise CheckpointError(
            f"{path} lacks {', '.join(missing) or 'a flat W_enc'} of a {kind} SAE; choose "
            "a whole checkpoint."
        )
    d_in, d_sae = tensors["W_enc"].shape
    expected: dict[str, list[tuple[int, ...]]] = {
        "b_enc": [(d_sae,)],
        "W_dec": [(d_sae, d_in)],
        "b_dec": [(d_in,)],
    }
    if "threshold" in tensors:
        expected["threshold"] = [(d_sae,), ()]
    for name, shapes in expected.items():
        shape = tuple(tensors[name].shape)
        if shape not in shapes:
            raise CheckpointError(
                f"{path} has {name} of shape {shape} where W_enc asks for {shapes[0]}; the "
                "file mixes two SAEs, fetch it again."
            )
    k = cast("int | None", fields.get("k"))
    if kind == "topk" and not (isinstance(k, int) and 0 < k <= d_sae):
        raise CheckpointError(
            f"{path} is a topk SAE that does not say how many latents it keeps; save it "
            "with k."
        )
    return d_in, d_sae
