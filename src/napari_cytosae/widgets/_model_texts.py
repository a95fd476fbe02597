"""What step 1 says of models; no Qt, no napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cytosae.core.types import BackboneInfo, SaeInfo


def describe_backbone(info: BackboneInfo) -> str:
    """E.g. ``DinoBloom-B: ViT 768 x 12, patch 14, 224 px``."""
    return (
        f"{info.name}: ViT {info.width}\N{MULTIPLICATION SIGN}{info.depth}, patch "
        f"{info.patch_size}, {info.image_size} px"
    )


def describe_sae(info: SaeInfo, layer: int) -> str:
    """E.g. ``cytosae: ReLU 768 -> 49,152, reads block 10``."""
    kind = {
        "relu": "ReLU",
        "topk": "TopK",
        "batchtopk": "BatchTopK",
        "jumprelu": "JumpReLU",
    }
    return (
        f"{info.name}: {kind[info.kind]} {info.d_in:,} \N{RIGHTWARDS ARROW} "
        f"{info.d_sae:,}, reads block {layer}"
    )


def describe_terms(info: BackboneInfo | SaeInfo) -> str:
    """Licence, citation and training data of a model, and its hash."""
    sentence = [info.licence, info.citation, info.training_data]
    parts = [part for part in sentence if part]
    return f"{info.name}: " + "; ".join([*parts, f"sha256 {info.sha256[:12]}"])


def describe_size(size: int) -> str:
    """E.g. ``5.7 MB``, ``1.2 GB``; empty where unknown."""
    if not size:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
