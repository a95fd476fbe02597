"""Crops for training: where they are cut, and how light, stain and optics vary.

Everything is drawn from a generator seeded by (seed, step), so that a run resumed after
a kill sees exactly the crops that an unbroken one sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scenes import CLASSES, UNKNOWN, Scenes, Sources
from scipy import ndimage

SIZE = 224
PLAIN_SHARE = 0.15
"""Share of the crops that keep their own light and stain."""
PASTED_SHARE = 0.35
"""Share of the typed cells that are put on the ground of another field.

Drawn and photographed cells then lie among drawn and photographed red cells alike, so that
the ground tells nothing of the type.
"""
FEWEST = 8
"""Types with fewer cells in a stack than this are drawn in proportion to their number."""

Cut = tuple[np.ndarray, np.ndarray, np.ndarray, int]
"""RGB, classes and types of a crop, (SIZE, SIZE) each, and the type of its cell or -1."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Training crops.

    Attributes
    ----------
    clean : Tensor of float32, (n, 3, 224, 224)
        As photographed, 0 to 1.
    varied : Tensor of float32, (n, 3, 224, 224)
        Another light, stain and lens: the model's input.
    classes, types : Tensor of uint8, (n, 224, 224)
    cell_type : Tensor of int64, (n,)
        Type of the cell in the middle, or -1.
    """

    clean: torch.Tensor
    varied: torch.Tensor
    classes: torch.Tensor
    types: torch.Tensor
    cell_type: torch.Tensor


def draw_batch(sources: Sources, size: int, rng: np.random.Generator) -> Batch:
    """Cut and vary `size` crops.

    Parameters
    ----------
    sources : Sources
        What they are cut from.
    size : int
        Crops.
    rng : Generator
        Everything that is random comes from it.
    """
    shares = np.array([share for _, share in sources])
    picks = rng.choice(len(sources), size, p=shares / shares.sum())
    crops = [_cut(sources[pick][0], rng) for pick in picks]
    for place in np.flatnonzero(rng.random(size) < PASTED_SHARE):
        if crops[place][3] >= 0:
            ground = sources[rng.choice(len(sources))][0]
            crops[place] = _pasted(crops[place], _cut(ground, rng, anywhere=True))
    rgb = torch.from_numpy(np.stack([crop[0] for crop in crops]))
    clean = rgb.permute(0, 3, 1, 2).float().div_(255).contiguous()
    classes = torch.from_numpy(np.stack([crop[1] for crop in crops]))
    g = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return Batch(
        clean=clean,
        varied=torch.stack([vary(*crop, g) for crop in zip(clean, classes, strict=True)]),
        classes=classes,
        types=torch.from_numpy(np.stack([crop[2] for crop in crops])),
        cell_type=torch.tensor([crop[3] for crop in crops]),
    )


def _cut(scenes: Scenes, rng: np.random.Generator, *, anywhere: bool = False) -> Cut:
    """One crop: turned, mirrored, stretched a little, at a random field of view.

    Most are centred on a white cell, unless `anywhere` is wanted.
    """
    height, width = scenes.rgb.shape[1:3]
    targets = scenes.targets
    if len(targets) and not anywhere and rng.random() < 0.85:
        target = targets[rng.choice(len(targets), p=_type_weights(targets["type"]))]
        index, cell_type = int(target["scene"]), int(target["type"])
        side = float(target["diameter"]) * np.exp(rng.uniform(np.log(1.1), np.log(3.2)))
        shift = 0.08 * float(target["diameter"])
        y, x = target["y"] + rng.normal(0, shift), target["x"] + rng.normal(0, shift)
    else:
        index, cell_type = int(rng.integers(len(scenes))), UNKNOWN
        side = np.exp(rng.uniform(np.log(14.0), np.log(40.0))) / scenes.pixel_um[index]
        y, x = rng.uniform(0, height), rng.uniform(0, width)
    stretch = np.exp(rng.normal(0, 0.06))
    side_x = min(side * stretch, 0.99 * height)
    side_y = min(side / stretch, 0.99 * height)
    angle = rng.uniform(0, 2 * np.pi)
    reach_y, reach_x = _reach(side_y, side_x, angle)
    if 2 * max(reach_y, reach_x) > height:
        angle = rng.integers(4) * np.pi / 2
        reach_y, reach_x = _reach(side_y, side_x, angle)
    y = float(np.clip(y, reach_y, height - reach_y))
    x = float(np.clip(x, reach_x, width - reach_x))
    mirror = rng.choice([-1.0, 1.0])
    cos, sin = np.cos(angle), np.sin(angle)
    per_x, per_y = side_x / SIZE, side_y / SIZE
    a, b, d, e = mirror * cos * per_x, -sin * per_y, mirror * sin * per_x, cos * per_y
    affine = (a, b, x - (a + b) * SIZE / 2, d, e, y - (d + e) * SIZE / 2)

    def warp(plane: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        picture = Image.fromarray(plane)
        return np.asarray(
            picture.transform((SIZE, SIZE), Image.Transform.AFFINE, affine, resample)
        )

    return (
        warp(scenes.rgb[index], Image.Resampling.BILINEAR),
        warp(scenes.classes[index], Image.Resampling.NEAREST),
        warp(scenes.types[index], Image.Resampling.NEAREST),
        -1 if cell_type == UNKNOWN else cell_type,
    )


def _pasted(cell: Cut, ground: Cut) -> Cut:
    """Put the white cell in the middle of one crop on another, under that one's light."""
    first = CLASSES.index("cytoplasm")
    white = (cell[1] >= first) & (cell[1] < len(CLASSES))
    parts, _ = ndimage.label(white)
    middle = parts[SIZE // 2, SIZE // 2]
    if not middle:
        return cell
    outline = ndimage.binary_dilation(parts == middle, iterations=2)
    soft = ndimage.uniform_filter(outline.astype(np.float32), 5)[..., None]
    lit = [np.quantile(cut[0][::4, ::4], 0.95, axis=(0, 1)) for cut in (cell, ground)]
    stained = cell[0] * (lit[1] / np.maximum(lit[0], 1))
    rgb = soft * stained + (1 - soft) * ground[0]
    return (
        rgb.clip(0, 255).astype(np.uint8),
        np.where(outline, cell[1], ground[1]),
        np.where(outline, cell[2], ground[2]),
        cell[3],
    )


def _reach(side_y: float, side_x: float, angle: float) -> tuple[float, float]:
    """Half the height and width of a turned rectangle."""
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    return (side_y * cos + side_x * sin) / 2, (side_y * sin + side_x * cos) / 2


def _type_weights(types: np.ndarray) -> np.ndarray:
    """Chance of each cell: all types alike, or what looks real means the usual one."""
    counts = np.bincount(types, minlength=256)
    weights = 1 / np.maximum(counts[types], FEWEST)
    weights[types == UNKNOWN] *= 0.5
    return weights / weights.sum()


def vary(rgb: torch.Tensor, classes: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Another stain, light and lens, in the order in which they act on a slide.

    One crop at a time, because its planes then stay in the processor's cache.
    """

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=g)

    def chance(share: float) -> bool:
        return bool(torch.rand((), generator=g) < share)

    if chance(PLAIN_SHARE):
        return rgb
    # Stain: optical density above the glass, mixed between the channels.
    glass = rgb.flatten(1)[:, ::16].quantile(0.95, dim=1)[:, None, None].clamp_min(0.05)
    density = -(rgb.clamp_min(0.02) / glass).log()
    mix = torch.eye(3) * (uniform(0.7, 1.6) * (0.15 * normal(3)).exp())
    mix = mix + 0.07 * normal(3, 3) * (1 - torch.eye(3))
    density = (mix @ density.flatten(1)).view_as(density)
    # Red cells and nuclei take up their own stains, so their colours vary on their own.
    if chance(0.35):
        density = density * (1 - uniform(0.2, 0.95) * _soft(classes, 1, 2))
    if chance(0.5):
        hue = (0.15 * normal(3, 1, 1)).exp()
        density = density * (1 + _soft(classes, 5, 5) * (hue - 1))
    # Light: white, grey, or strongly tinted as by an old lamp or a wrong white balance.
    level = uniform(0.7, 1.05) * (0.05 * normal(3)).exp()
    if chance(0.35):
        tint = torch.cat(
            [uniform(0.9, 1.0, 1), uniform(0.8, 1.0, 1), uniform(0.35, 1.0, 1)]
        )
        level = level * tint
    ramp = torch.linspace(-1, 1, SIZE)
    slope = 0.06 * normal(2)
    shade = 1 + slope[0] * ramp[:, None] + slope[1] * ramp
    out = level[:, None, None] * shade * (-density).exp()
    # Camera: saturation, contrast, tone curve, sharpness and noise.
    grey = out.mean(0, keepdim=True)
    out = grey + (out - grey) * uniform(0.6, 1.3)
    out = 0.6 + (out - 0.6) * uniform(0.85, 1.4)
    out = out.clamp(1e-3, 1) ** uniform(0.7, 1.4)
    out = _lens(out, g)
    if chance(0.5):
        out = out + uniform(0, 0.04) * normal(3, SIZE, SIZE)
    return out.clamp(0, 1)


def _lens(picture: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Resolution and sharpening: a small picture enlarged, an over-sharpened one."""
    roll, amount = torch.rand(2, generator=g).tolist()
    picture = picture[None]
    if roll < 0.45:
        small = round(56 * 4**amount)
        small_picture = F.interpolate(picture, size=(small, small), mode="area")
        picture = F.interpolate(small_picture, size=(SIZE, SIZE), mode="bicubic")
    if 0.3 < roll < 0.6:
        blurred = F.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)
        picture = picture + (0.3 + amount) * (picture - blurred)
    return picture[0]


def _soft(classes: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Soft mask of classes `first` to `last`: (1, H, W)."""
    mask = ((classes >= first) & (classes <= last)).float()
    return F.avg_pool2d(mask[None], 5, 1, 2, count_include_pad=False)


def patch_fractions(planes: torch.Tensor, n_values: int, patch: int = 14) -> torch.Tensor:
    """Share of each value in each patch, told from every other row and column.

    Returns
    -------
    Tensor of float32, (n, grid**2, n_values)
        Sums to less than 1 where some of a patch is unknown.
    """
    planes = planes[:, ::2, ::2]
    one_hot = torch.stack([(planes == k).float() for k in range(n_values)], 1)
    return F.avg_pool2d(one_hot, patch // 2).flatten(2).transpose(1, 2)
