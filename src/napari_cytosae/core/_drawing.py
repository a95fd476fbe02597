"""Pieces of the figures: text, bars, outlines, and colour laid over a smear."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageColor, ImageDraw, ImageFont

if TYPE_CHECKING:
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import (
        BoolArray,
        Float32Array,
        Image,
        Int32Array,
        UInt8Array,
    )

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MAX_ALPHA = 0.85
"""Opacity at the end of the scale: the cell stays visible below."""

_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "Arial.ttf",
)
_SCALE_BARS_UM = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def text(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    content: str,
    size: int,
    colour: str,
    *,
    width: float | None = None,
    bold: bool = False,
    anchor: str = "la",
) -> float:
    """Write one line, shortened to `width`; returns its length in px."""
    font = _font(size, content.isascii())
    if font is None:
        # No font on this machine has these letters: better plain ones than boxes.
        font = _font(size, True)
        content = unicodedata.normalize("NFKD", content).encode("ascii", "replace").decode()
        content = content.replace("?", "")
    assert font is not None
    if width is not None and font.getlength(content) > width:
        while content and font.getlength(content + "...") > width:
            content = content[:-1]
        content = content.rstrip() + "..."
    for shift in range(2 if bold else 1):
        at = (position[0] + shift, position[1])
        draw.text(at, content, fill=colour, font=font, anchor=anchor)
    return float(font.getlength(content)) + bold


def text_width(content: str, size: int) -> float:
    """Length in px of a line of ASCII letters."""
    font = _font(size, True)
    assert font is not None
    return float(font.getlength(content))


@lru_cache(maxsize=32)
def _font(size: int, is_ascii: bool) -> Font | None:
    # Pillow's own font looks the same everywhere, but has ASCII only.
    if is_ascii:
        return ImageFont.load_default(size)
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


def blend(
    rgb: UInt8Array, activation: Float32Array, colour: str, vmax: float
) -> UInt8Array:
    """Lay a colour over an image: alpha 0 at activation 0, `MAX_ALPHA` from `vmax` on.

    Parameters
    ----------
    rgb : ndarray of uint8, (H, W, 3)
        Left as it is.
    activation : ndarray of float32, (H, W)
        On the same pixels.
    colour : str
        Any colour Pillow knows.
    vmax : float
        End of the scale.
    """
    alpha = (np.clip(activation / vmax, 0, 1) * MAX_ALPHA)[:, :, None]
    over = np.array(ImageColor.getrgb(colour)[:3], dtype=np.float32)
    mixed: UInt8Array = np.rint(rgb * (1 - alpha) + over * alpha).astype(np.uint8)
    return mixed


def blend_grid(
    crop: UInt8Array, grid: Float32Array, colour: str, vmax: float
) -> UInt8Array:
    """Lay the patches of a crop over it, as `blend`; `grid` is (rows, columns) of them."""
    rows = np.arange(crop.shape[0]) * len(grid) // crop.shape[0]
    cols = np.arange(crop.shape[1]) * len(grid) // crop.shape[1]
    return blend(crop, grid[np.ix_(rows, cols)], colour, vmax)


def outlines(labels: Int32Array, thickness: int) -> BoolArray:
    """Pixels along the inner border of each label, `thickness` px wide.

    The border of the image is none: a cell that it cuts is open there.
    """
    height, width = labels.shape
    padded = np.pad(labels, thickness, mode="edge")
    edge = np.zeros(labels.shape, dtype=bool)
    for step in range(1, thickness + 1):
        for down, right in ((-step, 0), (step, 0), (0, -step), (0, step)):
            y, x = thickness + down, thickness + right
            edge |= padded[y : y + height, x : x + width] != labels
    return edge & (labels > 0)


def fit(rgb: UInt8Array, width: int, height: int) -> PillowImage.Image:
    """The image scaled to fit into `width` x `height` px, enlarged without blurring."""
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    method = PillowImage.Resampling.LANCZOS if scale < 1 else PillowImage.Resampling.BICUBIC
    return PillowImage.fromarray(rgb).resize(size, method)


def scale_bar(picture: PillowImage.Image, um_per_px: float) -> None:
    """Draw a bar of a round length, about a sixth of the width, into the lower right."""
    width, height = picture.size
    length = scale_bar_um(width, um_per_px)
    pixels = round(length / um_per_px)
    size = max(13, min(width, height) // 40)
    margin, thick = size, max(3, size // 4)
    right, bottom = width - margin, height - margin
    left = right - pixels
    draw = ImageDraw.Draw(picture, "RGBA")
    pad = size * 0.6
    box = (left - pad, bottom - thick - size * 1.7, right + pad, bottom + pad)
    draw.rounded_rectangle(box, size // 3, fill=(255, 255, 255, 200))
    draw.rectangle((left, bottom - thick, right - 1, bottom - 1), fill="black")
    middle = ((left + right) / 2, bottom - thick - size * 0.35)
    text(draw, middle, f"{length:g} um", size, "black", anchor="ms")


def scale_bar_um(width: int, um_per_px: float) -> float:
    """A round length of about a sixth of `width` px."""
    wanted = width * um_per_px / 6
    return min(_SCALE_BARS_UM, key=lambda um: abs(np.log(um / wanted)))


def colour_bar(
    picture: PillowImage.Image,
    box: tuple[int, int, int, int],
    colour: str,
    background: tuple[int, int, int],
    vmax: float,
    ink: str,
) -> None:
    """Draw the scale of an overlay as it looks on the slide's own background.

    Parameters
    ----------
    picture : PIL image
        Drawn into.
    box : (int, int, int, int)
        Left, top, right, bottom of the bar; the numbers are written to its sides.
    colour : str
        Of the overlay.
    background : (int, int, int)
        Of the slide.
    vmax : float
        End of the scale.
    ink : str
        Colour of the numbers.
    """
    left, top, right, bottom = box
    ramp = np.tile(np.linspace(0, 1, right - left, dtype=np.float32), (bottom - top, 1))
    plain = np.full((*ramp.shape, 3), background, dtype=np.uint8)
    picture.paste(PillowImage.fromarray(blend(plain, ramp, colour, 1.0)), (left, top))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=ink)
    size, middle = max(12, round((bottom - top) * 0.85)), (top + bottom) / 2
    text(draw, (left - 6, middle), "0", size, ink, anchor="rm")
    text(draw, (right + 6, middle), f"{vmax:.2g}", size, ink, anchor="lm")


def background_colour(image: Image | Pyramid | UInt8Array) -> tuple[int, int, int]:
    """The slide's empty field: the median of its brightest quarter."""
    step = max(1, min(image.shape[:2]) // 256)
    pixels = image[::step, ::step] if isinstance(image, np.ndarray) else image.thinned(step)
    sample = pixels.reshape(-1, 3)
    brightness = sample.sum(axis=1)
    bright = sample[brightness >= np.percentile(brightness, 75)]
    red, green, blue = (int(value) for value in np.median(bright, axis=0))
    return red, green, blue
