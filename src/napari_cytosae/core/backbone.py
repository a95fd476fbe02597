"""The vision transformer up to the block an SAE reads, and the pixels it takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from timm.layers.mlp import SwiGLUPacked
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from napari_cytosae.core.types import CheckpointError, ImageError, ModelMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_cytosae.core.checkpoints import BackboneFile
    from napari_cytosae.core.types import BackboneInfo, UInt8Array

IMAGE_SIZE = 224
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def preprocess(crops: Sequence[UInt8Array], size: int = IMAGE_SIZE) -> torch.Tensor:
    """Turn crops into the pixels of the published preprocessing, bit for bit.

    Pillow's bilinear resize to ``size x size`` (anisotropic, rounded to uint8), division
    by 255, ImageNet mean and standard deviation. No stain normalisation.

    Parameters
    ----------
    crops : sequence of ndarray of uint8, (h, w, 3)
        RGB, any size from one pixel on.
    size : int
        Side of the backbone's input in px.

    Returns
    -------
    Tensor of float32, (n, 3, size, size)

    Raises
    ------
    ImageError
        A crop that is not uint8 RGB, or has no pixels.
    """
    resized = np.empty((len(crops), size, size, 3), np.uint8)
    for index, crop in enumerate(crops):
        _require_rgb(index, crop)
        image = Image.fromarray(np.ascontiguousarray(crop))
        resized[index] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous().float().div_(255)
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return pixels.sub_(mean).div_(std)


class Backbone(nn.Module):
    """A vision transformer cut after the hooked block; no final norm, no head.

    Parameters
    ----------
    info : BackboneInfo
    tensors : mapping of str to Tensor
        As `checkpoints.open_backbone` gives them; assigned, not copied.
    layer : int
        Index of the last block to build; negative counts from the end.

    Raises
    ------
    ModelMismatchError
        The backbone has no such block.
    CheckpointError
        Tensors are missing, unknown, or of shapes that disagree.
    """

    def __init__(
        self, info: BackboneInfo, tensors: Mapping[str, torch.Tensor], layer: int
    ) -> None:
        super().__init__()
        self.info = info
        self.layer = resolve_layer(info, layer)
        self.prefix_tokens = 1
        needed = {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith("blocks.") or int(name.split(".")[1]) <= self.layer
        }
        if "reg_token" in needed:
            self.prefix_tokens += needed["reg_token"].shape[1]
        needed["pos_embed"], no_embed_class = _position_embedding(
            info, needed, self.prefix_tokens
        )
        with torch.device("meta"):
            self.vit = VisionTransformer(
                img_size=info.image_size,
                patch_size=info.patch_size,
                embed_dim=info.width,
                depth=self.layer + 1,
                num_heads=info.heads,
                num_classes=0,
                global_pool="",
                final_norm=False,
                reg_tokens=self.prefix_tokens - 1,
                no_embed_class=no_embed_class,
                weight_init="skip",
                **_block_options(info, needed),
            )
        try:
            self.vit.load_state_dict(needed, assign=True)
        except RuntimeError as error:
            detail = str(error).split("\n\t")[1].strip()
            raise CheckpointError(
                f"The tensors of backbone {info.name} do not make one vision transformer "
                f"({detail}); fetch the weights again."
            ) from error
        self.requires_grad_(False).eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Residual stream after the hooked block.

        Parameters
        ----------
        pixels : Tensor of float32, (n, 3, image_size, image_size)
            As `preprocess` gives them.

        Returns
        -------
        Tensor of float32, (n, 1 + grid**2, width)
            CLS first, then the patches row by row; register tokens are left out.
        """
        tokens = self.vit.forward_features(pixels)
        if self.prefix_tokens == 1:
            return tokens
        return torch.cat([tokens[:, :1], tokens[:, self.prefix_tokens :]], dim=1)


def build_backbone(file: BackboneFile, layer: int) -> Backbone:
    """Build the blocks of `file` up to `layer`, on the CPU, in evaluation mode.

    Raises
    ------
    ModelMismatchError, CheckpointError
        As `Backbone`.
    """
    return Backbone(file.info, file.tensors, layer)


def resolve_layer(info: BackboneInfo, layer: int) -> int:
    """Return the index of a block counted from the start.

    Raises
    ------
    ModelMismatchError
        The backbone has no such block.
    """
    if not -info.depth <= layer < info.depth:
        raise ModelMismatchError(
            f"Block {layer} is asked for, but backbone {info.name} has {info.depth} blocks "
            f"only; use -{info.depth} to -1, or the backbone the SAE was trained on."
        )
    return layer % info.depth


def _require_rgb(index: int, crop: object) -> None:
    if not isinstance(crop, np.ndarray):
        raise ImageError(
            f"Crop {index} is a {type(crop).__name__}; give numpy arrays of uint8 RGB."
        )
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8:
        raise ImageError(
            f"Crop {index} is {crop.dtype} of shape {crop.shape}; crops are uint8 RGB "
            "(height, width, 3), which `napari_cytosae.core.images.as_image` makes."
        )
    if not crop.size:
        raise ImageError(f"Crop {index} has no pixels; leave it out.")


def _position_embedding(
    info: BackboneInfo, tensors: Mapping[str, torch.Tensor], prefix_tokens: int
) -> tuple[torch.Tensor, bool]:
    """Fit the position embedding to the patch grid; tell whether CLS stands outside it."""
    embedding = tensors["pos_embed"]
    prefix = embedding.shape[1] - math.isqrt(embedding.shape[1]) ** 2
    if prefix not in (0, prefix_tokens):
        raise CheckpointError(
            f"Backbone {info.name} has position embeddings for {embedding.shape[1]} "
            "tokens, which make no square patch grid; fetch the weights again."
        )
    if embedding.shape[1] != info.grid**2 + prefix:
        embedding = resample_abs_pos_embed(
            embedding, new_size=[info.grid, info.grid], num_prefix_tokens=prefix
        )
    return embedding, prefix == 0


def _block_options(
    info: BackboneInfo, tensors: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    inner, outer = (tensors[f"blocks.0.mlp.{name}.weight"] for name in ("fc1", "fc2"))
    options: dict[str, Any] = {
        # timm truncates ratio * width; half a unit more keeps the exact size.
        "mlp_ratio": (inner.shape[0] + 0.5) / info.width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "init_values": 1.0 if "blocks.0.ls1.gamma" in tensors else None,
    }
    if inner.shape[0] == 2 * outer.shape[1]:
        options |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    return options
