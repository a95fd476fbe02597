"""Light into dye: the background of a smear, and how much each pixel absorbs.

Romanowsky stains hold two dyes. Azure B, the basic one, binds DNA, RNA and platelet
granules and absorbs red and green but lets blue through. Eosin binds haemoglobin, which
itself absorbs green and blue but hardly any red. Both follow Beer and Lambert closely
enough that what they absorb is compared as optical density against the background of the
same image, whatever the lamp, the white balance and the camera made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from napari_cytosae.core.types import BoolArray, Float32Array, UInt8Array

_DARK = 24
"""Grey level below which a pixel carries no light: masks, frames, missing tiles."""
_OFFSET = 4.0
"""Added to both intensities so that black pixels keep a finite optical density."""
_RIDGE = 0.01
_REDDER = 0.25
"""By how much the red of a nucleus, relative to its green, exceeds that of blood."""
_RESIDUE = 0.04
"""Basic dye that may be left of blood: far less than a nucleus has."""
_NOT_BRIGHTFIELD = (
    "The image has no bright background: only brightfield smears can be segmented "
    "(invert a negative, and bring a Labels layer for fluorescence)."
)


@dataclass(frozen=True, slots=True, eq=False)
class Stain:
    """Absorption of each pixel of one image.

    Attributes
    ----------
    density : ndarray of float32, (H, W, 3)
        log10(background / intensity) of red, green and blue.
    void : ndarray of bool, (H, W)
        Pixels without light (black border, missing tile): never part of a cell.
    noise : float
        Standard deviation of the summed density over the background.
    basic : ndarray of float32, (H, W)
        Basic dye (nuclei, basophilic cytoplasm, platelets): red and green density less as
        much of the blue as makes the red cells of this image vanish.
    foreign : ndarray of bool, (H, W)
        Pixels no dye gives: grey (pen, pointer, dust), or yellow to red paint.
    """

    density: Float32Array
    void: BoolArray
    noise: float
    basic: Float32Array
    foreign: BoolArray

    @property
    def haemoglobin(self) -> Float32Array:
        """Green and blue density: what red cells are seen by."""
        return self.density[..., 1] + np.float32(0.5) * self.density[..., 2]


def shrink(rgb: UInt8Array | Float32Array, factor: int) -> Float32Array:
    """Average blocks of `factor` x `factor` pixels (H, W, C); a rest at the edge is cut."""
    if factor == 1:
        return rgb.astype(np.float32)
    height, width = (side // factor * factor for side in rgb.shape[:2])
    whole = rgb[:height, :width]
    # Twice over strided slices: several times faster than a mean over two axes.
    rows = np.zeros((height // factor, *whole.shape[1:]), np.float32)
    for i in range(factor):
        rows += whole[i::factor]
    blocks = np.zeros((len(rows), width // factor, rgb.shape[2]), np.float32)
    for i in range(factor):
        blocks += rows[:, i::factor]
    blocks *= np.float32(1 / factor**2)
    return blocks


def stain(rgb: Float32Array) -> Stain:
    """Optical density of an image against its own background.

    Parameters
    ----------
    rgb : ndarray of float32, (H, W, 3)
        Intensities, 0 to 255.

    Raises
    ------
    ImageError
        If the image has no bright background, as in fluorescence.
    """
    background, noise = _background(rgb)
    # A plane a colour: most of what follows looks at one at a time.
    planes = np.array(np.moveaxis(rgb, -1, 0), np.float32, order="C")
    void = np.logical_and.reduce(planes < _DARK)
    planes += np.float32(_OFFSET)
    for plane, terms in zip(planes, background.T, strict=True):
        glass = np.clip(_surface(terms, *plane.shape), 1, 255)
        np.divide(glass + np.float32(_OFFSET), plane, out=plane)
    density = np.moveaxis(np.log10(planes, out=planes), 0, -1)
    density[void] = 0
    return Stain(density, void, noise, _basic(density), _foreign(density))


def _foreign(density: Float32Array) -> BoolArray:
    red, green, blue = np.moveaxis(density, -1, 0)
    grey = (np.minimum(red, blue) > np.float32(0.8) * green) & (green > 0.1)
    paint = (blue > 0.2) & (np.float32(2) * green < blue)
    foreign: BoolArray = grey | paint
    return foreign


def _basic(density: Float32Array) -> Float32Array:
    red, green, blue = np.moveaxis(density, -1, 0)
    warm = red + green
    # Where red cells are, their own ratio; 1.6 is that of haemoglobin on most cameras.
    thin = (slice(None, None, 2), slice(None, None, 2))
    bloody = (green > 0.06) & (warm - np.float32(1.6) * blue < 0.25) & (red < 0.75 * green)
    bloody = bloody[thin]
    weight = 1.6
    if bloody.sum() > 200:
        # Pale nuclei are as red as blood may be elsewhere, but redder than blood is here.
        redness = red[thin][bloody] / green[thin][bloody]
        own = redness < np.percentile(redness, 20) + _REDDER
        warmth = np.median(warm[thin][bloody][own]) - _RESIDUE
        ratio = warmth / max(0.01, np.median(blue[thin][bloody][own]))
        weight = float(np.clip(ratio, 1.6, 2.6))
    pigment: Float32Array = warm - np.float32(weight) * blue
    return pigment


def _background(rgb: Float32Array) -> tuple[Float32Array, float]:
    """Light through the bare glass, as terms of a quadratic surface (6, 3), and noise."""
    factor = max(1, round((rgb.shape[0] * rgb.shape[1] / 8000) ** 0.5))
    factor = min(factor, *rgb.shape[:2])
    small = shrink(rgb, factor)
    lit = small.max(axis=-1) >= _DARK
    if lit.mean() < 0.35 or np.median(small[lit].max(axis=-1)) < 60:
        raise ImageError(_NOT_BRIGHTFIELD)
    light = np.log10(small[..., 1] + _OFFSET)
    chosen = lit & (light > _brightest_mode(light[lit]) - 0.02)
    basis = _polynomial(*small.shape[:2])
    fit = np.zeros((basis.shape[-1], 3), np.float32)
    for wanted in (1, 3, 3, 6, 6, 6):
        terms = wanted if _covers(chosen) else 1
        design = basis[chosen][:, :terms]
        # A little ridge keeps the surface level where no glass is seen.
        ridge = _RIDGE * len(design) * np.diag(np.arange(terms) > 0).astype(np.float32)
        normal = design.T @ design + ridge
        fit[:] = 0
        fit[:terms] = np.linalg.solve(normal, design.T @ small[chosen])
        field = np.maximum(basis @ fit, 1)
        residual = np.log10(field[..., 1] + _OFFSET) - light
        # Cells lie on the darker side only: the brighter one tells noise and shading.
        brighter = -residual[lit & (residual < 0) & (residual > -0.1)]
        width = (
            min(0.01, 1.48 * float(np.median(brighter)) + 0.002) if brighter.size else 0.01
        )
        chosen = lit & (residual < 2 * width) & (residual > -0.1)
        if not chosen.any():
            break
    level = np.log10((field + _OFFSET) / (small + _OFFSET))
    noise = float(np.abs(level[chosen]).sum(axis=-1).std()) if chosen.any() else 0.01
    return fit, noise


def _brightest_mode(light: Float32Array) -> float:
    """Brightest peak of the histogram with at least a tenth of the highest one's height.

    Bare glass is the brightest thing in view and even, so its peak is narrow and stands
    out where only a few per cent of the field are free.
    """
    edges = np.arange(light.min() - 0.03, light.max() + 0.04, 0.005)
    counts = ndi.gaussian_filter1d(np.histogram(light, edges)[0].astype(float), 2)
    peak = (counts == ndi.maximum_filter1d(counts, 5)) & (counts > 0.1 * counts.max())
    return float(edges[np.flatnonzero(peak)[-1]] + 0.0025)


def _polynomial(height: int, width: int) -> Float32Array:
    """Terms of a quadratic surface over the image, (H, W, 6), the constant first."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] + np.zeros((1, width), "f4")
    x = np.linspace(-1, 1, width, dtype=np.float32)[None] + np.zeros((height, 1), "f4")
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)


def _surface(terms: Float32Array, height: int, width: int) -> Float32Array:
    """A sum of the terms of `_polynomial` over the image, (H, W) or what spreads to it."""
    if not terms[1:].any():
        return terms[:1]
    level, x, y, xx, yy, xy = terms
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    right = np.linspace(-1, 1, width, dtype=np.float32)
    surface: Float32Array = xy * down * right
    surface += level + y * down + yy * down * down
    surface += x * right + xx * right * right
    return surface


def _covers(mask: BoolArray) -> bool:
    """Whether the background is seen all over, so that a surface may be fitted."""
    if min(mask.shape) < 40:
        return False
    height, width = (side // 4 * 4 for side in mask.shape)
    tiles = mask[:height, :width].reshape(4, height // 4, 4, width // 4).mean(axis=(1, 3))
    return int((tiles > 0.02).sum()) >= 12
