"""The starter's vision transformer with the heads that teach it, and their losses.

The heads are linear on the residual stream that the SAE will read, so that what they
teach lies there as directions an SAE can find.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sampling import SIZE, Batch, patch_fractions
from scenes import CLASSES, TYPES
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from napari_cytosae.core.backbone import IMAGENET_MEAN, IMAGENET_STD

WIDTH, DEPTH, PATCH = 192, 6, 14
GRID = SIZE // PATCH
TEXTURE = 2
"""Each patch's clean colours are asked for on a TEXTURE x TEXTURE raster."""


class Learner(nn.Module):
    """Backbone and heads.

    Parameters
    ----------
    width, depth : int
        Of the vision transformer; heads are 64 wide.
    bfloat16 : bool
        Multiply in bfloat16, which takes half the time where the processor can.
    """

    def __init__(
        self, width: int = WIDTH, depth: int = DEPTH, *, bfloat16: bool = False
    ) -> None:
        super().__init__()
        self.bfloat16 = bfloat16
        self.backbone = VisionTransformer(
            img_size=SIZE,
            patch_size=PATCH,
            embed_dim=width,
            depth=depth,
            num_heads=width // 64,
            num_classes=0,
            init_values=0.1,
        )
        self.patch_class = nn.Linear(width, len(CLASSES))
        self.patch_type = nn.Linear(width, len(TYPES))
        self.cell_type = nn.Linear(width, len(TYPES))
        self.cls_type = nn.Linear(width, len(TYPES))
        self.colours = nn.Linear(width, 3 * TEXTURE**2 + 3)

    def tokens(
        self, pixels: torch.Tensor, keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Residual stream after the last block: (n, 1 + patches, width), CLS first.

        Parameters
        ----------
        pixels : Tensor, (n, 3, 224, 224)
            0 to 1.
        keep : Tensor of int64, (n, m), or None
            Patches to look at; the others are left out, which saves their time.
        """
        vit = self.backbone
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            stream = vit._pos_embed(vit.patch_embed(normalised(pixels)))
            if keep is not None:
                stream = torch.cat([stream[:, :1], gather(stream[:, 1:], keep)], 1)
            return vit.blocks(stream).float()

    def losses(
        self, batch: Batch, keep: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """One scalar a task; the training loss is their sum."""
        tokens = F.layer_norm(
            self.tokens(batch.varied, keep), (self.patch_class.in_features,)
        )
        patches = tokens[:, 1:]
        classes = patch_fractions(batch.classes, len(CLASSES))
        types = patch_fractions(batch.types, len(TYPES))
        colours = clean_colours(batch.clean)
        if keep is not None:
            classes, types, colours = (gather(t, keep) for t in (classes, types, colours))
        known = batch.cell_type >= 0
        losses = {
            "class": _soft_cross_entropy(self.patch_class(patches), classes),
            "type": _soft_cross_entropy(self.patch_type(patches), types),
            "colour": F.smooth_l1_loss(self.colours(patches), colours, beta=0.2),
        }
        if bool(known.any()):
            label = batch.cell_type[known]
            mean = patches[known].mean(1)
            losses["cell"] = F.cross_entropy(self.cell_type(mean), label)
            losses["cls"] = 0.3 * F.cross_entropy(self.cls_type(tokens[known, 0]), label)
        return losses


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels from 0 to 1 as the backbone takes them: (n, 3, h, w)."""
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return (pixels - mean) / std


def gather(values: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Rows `keep` (n, m) of `values` (n, t, c)."""
    return values.gather(1, keep[:, :, None].expand(-1, -1, values.shape[2]))


def clean_colours(clean: torch.Tensor) -> torch.Tensor:
    """What each patch looks like in its own light: (n, grid**2, 3 * TEXTURE**2 + 3).

    Colours on a coarse raster, then each channel's spread within the patch (granules).
    """
    raster = F.avg_pool2d(clean, PATCH // TEXTURE)
    raster = F.pixel_unshuffle(raster, TEXTURE)
    mean = F.avg_pool2d(clean, PATCH)
    spread = (F.avg_pool2d(clean.square(), PATCH) - mean.square()).clamp_min(1e-6).sqrt()
    return torch.cat([raster * 4 - 2, spread * 8], 1).flatten(2).transpose(1, 2)


def _soft_cross_entropy(logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens, each weighted by the share of its pixels that is known."""
    loss = -(shares * logits.log_softmax(-1)).sum()
    return loss / shares.sum().clamp_min(1.0)
