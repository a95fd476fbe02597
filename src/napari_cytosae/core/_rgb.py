"""Any numpy array a user may have, as uint8 RGB, or one sentence why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.types import UInt8Array

MIN_SIDE = 8
"""An image with a shorter side (px) holds no cell."""

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Depths of common cameras: the least that holds the largest value is taken as white."""

_DARK = 48
"""Upper quartile of brightness below which a field has no bright background."""


def to_rgb(array: npt.ArrayLike, name: str) -> tuple[UInt8Array, tuple[str, ...]]:
    """Convert to uint8 RGB and say what was done.

    Alpha is dropped, grey is replicated, axes of length one are removed. Integers of more
    than 8 bits are divided by the largest value of the bit depth in use (the least of
    `BIT_DEPTHS` that holds the maximum), so white stays white for a 12-bit camera in a
    16-bit file. Floats are 0..1, or 0..255 where anything is above 1.

    Parameters
    ----------
    array : array_like
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), any number type.
    name : str
        For the messages.

    Returns
    -------
    rgb : ndarray of uint8, (H, W, 3), C-contiguous
    notes : tuple of str

    Raises
    ------
    ImageError
        For stacks, channels that are not RGB, masks, empty or tiny images, and values
        without a sensible white.
    """
    pixels = _layout(np.asarray(array), name)
    notes: list[str] = []
    if pixels.ndim == 2:
        notes.append("grey replicated to red, green and blue")
        scaled, note = _eight_bits(pixels, name)
        rgb = np.repeat(scaled[:, :, None], 3, axis=2)
    else:
        if pixels.shape[2] == 4:
            notes.append("alpha dropped")
        scaled, note = _eight_bits(pixels[:, :, :3], name)
        rgb = np.ascontiguousarray(scaled)
    if note:
        notes.append(note)
    if is_dark(rgb):
        notes.append("background is dark, unlike a brightfield smear")
    return rgb, tuple(notes)


def is_dark(rgb: npt.NDArray[np.generic]) -> bool:
    """Whether three quarters of an image are nearly black: no transmitted light."""
    step = max(1, min(rgb.shape[:2]) // 256)
    return bool(np.percentile(rgb[::step, ::step].max(axis=2), 75) < _DARK)


def check_size(width: int, height: int, most: int, name: str) -> None:
    """Refuse an image of more than `most` pixels, before any of them is decoded."""
    if width * height > most:
        raise ImageError(
            f"{name} is {width} x {height} px, too large to open whole: cut out a region."
        )


def _layout(array: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.generic]:
    """The array as (H, W), (H, W, 3) or (H, W, 4)."""
    shape = " x ".join(str(side) for side in array.shape) or "a single number"
    if array.size == 0 or array.ndim < 2:
        raise ImageError(f"{name} is empty ({shape}): choose an image with pixels.")
    while array.ndim > 3 and 1 in array.shape[:-3]:
        array = array.squeeze(axis=array.shape[:-3].index(1))
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    elif array.ndim == 3 and array.shape[0] == 1 and array.shape[2] not in (3, 4):
        array = array[0]
    if array.ndim > 3:
        raise ImageError(
            f"{name} is a stack of images ({shape}): choose one plane of it first."
        )
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        raise ImageError(
            f"{name} is a stack or has separate channels ({shape}), but a brightfield "
            "smear is height x width x 3 or grey: choose one plane, or save it as RGB."
        )
    if min(array.shape[:2]) < MIN_SIDE:
        raise ImageError(
            f"{name} is {array.shape[1]} x {array.shape[0]} px: too small to hold a cell "
            f"(at least {MIN_SIDE} px a side)."
        )
    return array


def _eight_bits(pixels: npt.NDArray[np.generic], name: str) -> tuple[UInt8Array, str]:
    """Values as uint8, and a note where they had to be scaled."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False), ""
    if pixels.dtype.kind not in "iuf":
        raise ImageError(
            f"{name} holds {pixels.dtype} values, not brightness: choose the image itself, "
            "not a mask or a selection."
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(low + high):
        raise ImageError(f"{name} holds NaN or infinite values: save it as 8-bit RGB.")
    if low < 0:
        raise ImageError(
            f"{name} holds negative values (down to {low:g}): save it as 8-bit RGB."
        )
    if pixels.dtype.kind == "f":
        return _from_float(pixels, high, name)
    depth = next((bits for bits in BIT_DEPTHS if high < 2**bits), None)
    if depth is None:
        raise ImageError(
            f"{name} holds values up to {high:.0f}, over 16 bits: save it as 8-bit RGB."
        )
    if depth == 8:
        return pixels.astype(np.uint8), f"{pixels.dtype} values up to 255 taken as 8 bit"
    white = 2**depth - 1
    note = f"{pixels.dtype} values scaled to 8 bit (0..{white}, {depth} bits in use)"
    return _scaled(pixels, 255 / white), note


def _from_float(
    pixels: npt.NDArray[np.generic], high: float, name: str
) -> tuple[UInt8Array, str]:
    # A resampled 0..1 image overshoots by rounding errors.
    if high <= 1 + 1e-3:
        return _scaled(pixels, 255.0), f"{pixels.dtype} values 0..1 scaled to 8 bit"
    if high <= 255 + 1e-3:
        return _scaled(pixels, 1.0), f"{pixels.dtype} values 0..255 rounded to 8 bit"
    raise ImageError(
        f"{name} holds floating-point values up to {high:g}, neither 0..1 nor 0..255: "
        "save it as 8-bit RGB."
    )


def _scaled(pixels: npt.NDArray[np.generic], factor: float) -> UInt8Array:
    """Rounded product, row block by row block: no float copy of a whole slide."""
    result = np.empty(pixels.shape, dtype=np.uint8)
    for start in range(0, len(pixels), 512):
        block = pixels[start : start + 512].astype(np.float32) * np.float32(factor)
        result[start : start + 512] = np.clip(np.rint(block), 0, 255).astype(np.uint8)
    return result
