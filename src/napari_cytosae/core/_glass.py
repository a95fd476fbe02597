"""Bare glass: the light of an image where nothing lies on the slide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from napari_cytosae.core.types import BoolArray, Float32Array, UInt8Array

DARK = 24
"""Grey level below which a pixel carries no light: masks, frames, missing tiles."""
OFFSET = 4.0
"""Added to both intensities so that black pixels keep a finite optical density."""
_RIDGE = 0.01
_CLEAR = 0.05
"""Optical density by which a pixel clearly differs from the glass."""
_BRIGHTER = 0.02
"""Share of an image that may be brighter than its glass without being more than the cells:
bubbles, fringes."""
_EVENEST = 10
"""Per cent of the pixels that are looked at for where an image is evenest."""
_EVENER = 0.3
"""By how much more of them a negative has outside its cells than the image itself."""
_FILLED = 0.02
"""Least share of an image that one piece of a fill covers."""
_LEAST_FACTOR = 2
"""By which an image has to be shrunk to be looked at for a fill: 140 x 140 px."""
_SAME = 0.05
"""Grey levels by which the mean of equal pixels may differ from them."""
_OTHER = 0.008
"""Optical density by which a fill differs from the glass, unless that does not matter."""
_STRAIGHT = 0.25
"""Length of a fill's longest edge, of the image's side; cells leave no such edges."""
_COLOUR = 0.35
"""Of what glass that has less of the cells' colour is glass, however uneven it looks."""
_NOT_BRIGHTFIELD = (
    "The image has no bright background: only brightfield smears can be segmented "
    "(invert a negative, and bring a Labels layer for fluorescence)."
)


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


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """What comes through the bare glass.

    Attributes
    ----------
    terms : ndarray of float32, (6, 3)
        Of a quadratic surface, the same at every resolution, see `surface`.
    noise : float
        Standard deviation of the summed density over the glass.
    fill : tuple of float or None
        Colour that a scanner or a stitcher gave what was not scanned.
    """

    terms: Float32Array
    noise: float
    fill: tuple[float, ...] | None = None

    def unscanned(self, planes: Float32Array) -> BoolArray:
        """Pixels (H, W) of an image (3, H, W) that hold no more than the fill."""
        if self.fill is None:
            return np.zeros(planes.shape[1:], bool)
        colour = np.array(self.fill, np.float32)[:, None, None]
        plain = (np.abs(planes - colour) < _SAME).all(axis=0)
        # A pixel that happens to be like it is not; one beside it holds some of both.
        square = np.ones((3, 3), bool)
        grown: BoolArray = ndi.binary_dilation(ndi.binary_opening(plain, square), square)
        return grown


def glass_light(rgb: UInt8Array | Float32Array) -> Light:
    """Light through the bare glass of an image (H, W, 3).

    Raises
    ------
    ImageError
        If the image has no bright background, or is the negative of one that has.
    """
    factor = max(1, round((rgb.shape[0] * rgb.shape[1] / 8000) ** 0.5))
    factor = min(factor, *rgb.shape[:2])
    small = shrink(rgb, factor)
    light = _beside_fill(rgb, small, factor) or _brightest(small)
    if light.fill is not None:
        small[light.unscanned(np.moveaxis(small, -1, 0))] = 0
    if _is_negative(small, light):
        raise ImageError(_NOT_BRIGHTFIELD)
    return light


def _beside_fill(
    rgb: UInt8Array | Float32Array, small: Float32Array, factor: int
) -> Light | None:
    """Light of an image that is partly filled, `small` is it shrunk; None where none is.

    What one exact colour covers is no glass if the glass beside it has another one: where
    glass is so bright that it has no noise, that beside the cells is as bright. Crops of a
    cell are not asked: in so few pixels glass of one colour has straight edges, too.
    """
    if factor < _LEAST_FACTOR:
        return None
    thin = np.rint(rgb[::factor, ::factor].reshape(-1, 3)).astype(np.int32)
    codes, counts = np.unique(thin @ np.array([65536, 256, 1]), return_counts=True)
    code = int(codes[counts.argmax()])
    colour = np.array([code >> 16, code >> 8 & 255, code & 255], np.float32)
    if counts.max() < _FILLED * len(thin) or colour.max() < DARK:
        return None
    filled = (np.abs(small - colour) < _SAME).all(axis=-1)
    pieces, _ = ndi.label(filled)
    large = np.bincount(pieces.ravel()) >= _FILLED * filled.size
    large[0] = False
    if not _has_straight_edge(large[pieces]):
        return None
    try:
        light = _brightest(small, large[pieces])
    except ImageError:
        return None
    glass = light.terms[0] + np.float32(OFFSET)
    apart = np.abs(np.log10((colour + np.float32(OFFSET)) / glass)).max()
    return None if apart < _OTHER else replace(light, fill=tuple(colour.tolist()))


def _has_straight_edge(filled: BoolArray) -> bool:
    """Whether a mask ends somewhere along a line, as wide as a part of the image."""
    return any(
        (plane[1:] != plane[:-1]).mean(axis=1).max(initial=0) >= _STRAIGHT
        for plane in (filled, filled.T)
    )


def _is_negative(small: Float32Array, light: Light) -> bool:
    """Whether what was taken for glass are the cells of an inverted image.

    Glass has cells that are darker, and is the evenest thing in view. Among crowded cells
    little of it is left that is; then the negative has no even glass either, or glass and
    cells tell themselves by their colour.
    """
    own = _Ground.of(small, light)
    if own.brighter > max(own.darker, _BRIGHTER):
        return True
    if own.even_cells < _EVENER or own.colour < _COLOUR * own.cell_colour:
        return False
    negative = 255 - small
    try:
        other = _Ground.of(negative, _brightest(negative))
    except ImageError:
        return False
    return other.darker > other.brighter and own.even_cells - other.even_cells > _EVENER


@dataclass(frozen=True, slots=True)
class _Ground:
    """How glass and cells compare.

    Attributes
    ----------
    darker, brighter : float
        Share of the image that clearly is so: the cells, and what cannot be any.
    even_cells : float
        Share of the evenest pixels that lie in the cells.
    colour, cell_colour : float
        Range of red, green and blue in grey levels.
    """

    darker: float
    brighter: float
    even_cells: float
    colour: float
    cell_colour: float

    @classmethod
    def of(cls, small: Float32Array, light: Light) -> _Ground:
        lit = _strongest(small) >= DARK
        glass = np.maximum(_polynomial(*small.shape[:2]) @ light.terms[:, 1], 1)
        darker = np.log10((glass + OFFSET) / (small[..., 1] + OFFSET))
        cells = darker > _CLEAR
        steep = ndi.gaussian_gradient_magnitude(small.mean(axis=-1), 0.7)
        even = lit & (steep <= np.percentile(steep[lit], _EVENEST))
        colours = [
            float(np.ptp(np.median(small[where], axis=0))) if where.any() else 0.0
            for where in (lit & (np.abs(darker) <= _CLEAR), cells)
        ]
        brighter = float((darker < -_CLEAR).mean())
        return cls(float(cells.mean()), brighter, float(cells[even].mean()), *colours)


def _brightest(small: Float32Array, unscanned: BoolArray | None = None) -> Light:
    """A surface through the brightest even part of a small image, and noise."""
    strongest = _strongest(small)
    lit = strongest >= DARK
    share = lit.mean()
    if unscanned is not None:
        lit &= ~unscanned
        share = lit.sum() / max(1, np.count_nonzero(~unscanned))
    if share < 0.35 or np.median(strongest[lit]) < 60:
        raise ImageError(_NOT_BRIGHTFIELD)
    light = np.log10(small[..., 1] + OFFSET)
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
        residual = np.log10(field[..., 1] + OFFSET) - light
        # Cells lie on the darker side only: the brighter one tells noise and shading.
        brighter = -residual[lit & (residual < 0) & (residual > -0.1)]
        width = (
            min(0.01, 1.48 * float(np.median(brighter)) + 0.002) if brighter.size else 0.01
        )
        chosen = lit & (residual < 2 * width) & (residual > -0.1)
        if not chosen.any():
            break
    level = np.log10((field + OFFSET) / (small + OFFSET))
    noise = float(np.abs(level[chosen]).sum(axis=-1).std()) if chosen.any() else 0.01
    return Light(fit, noise)


def _strongest(small: Float32Array) -> Float32Array:
    """The strongest colour of each pixel; numpy is slow along so short an axis."""
    red, green, blue = np.moveaxis(small, -1, 0)
    strongest: Float32Array = np.maximum(np.maximum(red, green), blue)
    return strongest


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


def surface(terms: Float32Array, height: int, width: int) -> Float32Array:
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
