"""From transmitted light to the pixels a camera stores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array, UInt8Array

ALIGN = 16
"""JPEG blocks of colour, px; tiles start at multiples."""

ILLUMINANTS = (
    (1.03, 1.03, 1.03),
    (0.98, 0.95, 0.88),
    (0.97, 0.93, 0.66),
    (0.84, 0.88, 0.89),
    (0.58, 0.68, 0.63),
    (0.97, 0.91, 0.94),
    (0.80, 0.80, 0.84),
)
"""Empty background as stored: blown out, cream, yellow, blue-grey, green, pink, grey."""

# Luminance quantisation table of the JPEG standard (ITU-T T.81, table K.1).
_QUANT = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
# ITU-R BT.601 luma and colour differences, as JPEG stores them.
_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32
)


@dataclass(frozen=True, slots=True)
class Camera:
    """Lamp, objective and sensor.

    Attributes
    ----------
    light : RGB triple
        Empty background as stored, 1 is full scale; more is blown out.
    gradient : (float, float)
        Relative change of light over the image, down and to the right.
    vignette : float
        Relative loss of light in the corners.
    gamma : float
        Exponent on the relative intensity.
    saturation : float
        1 keeps colours, 0 is grey.
    blur : float
        Standard deviation of the point spread function, um.
    flare : float
        Stray light, as a share of the background: it takes contrast away.
    fringe : float
        Relative difference of blur between red and blue.
    lateral : (float, float)
        How far red is moved against green, and blue the other way, um down and right.
    sharpen : float
        Strength of an unsharp mask.
    noise : float
        Standard deviation at full scale, grey levels.
    quality : int or None
        JPEG quality; None stores without loss.
    """

    light: tuple[float, float, float] = (0.94, 0.92, 0.91)
    gradient: tuple[float, float] = (0.0, 0.0)
    vignette: float = 0.03
    gamma: float = 1.0
    saturation: float = 1.0
    blur: float = 0.10
    flare: float = 0.0
    fringe: float = 0.0
    lateral: tuple[float, float] = (0.0, 0.0)
    sharpen: float = 0.0
    noise: float = 1.2
    quality: int | None = None

    @classmethod
    def random(cls, rng: np.random.Generator) -> Camera:
        """A microscope and camera from some laboratory."""
        light = np.asarray(ILLUMINANTS[rng.integers(len(ILLUMINANTS))])
        light = light * np.exp(rng.normal(0, 0.025, 3)) * np.exp(rng.normal(0, 0.03))
        return cls(
            light=tuple(float(v) for v in light),  # type: ignore[arg-type]
            gradient=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
            vignette=float(rng.exponential(0.03)),
            gamma=float(np.exp(rng.normal(0, 0.15))),
            saturation=float(rng.uniform(0.75, 1.5)),
            blur=float(np.exp(rng.normal(np.log(0.165), 0.5))),
            flare=float(rng.choice([0.0, rng.uniform(0.0, 0.3)])),
            fringe=float(rng.normal(0, 0.15)),
            lateral=tuple(rng.normal(0, 0.05, 2).tolist())
            if rng.random() < 0.4
            else (0.0, 0.0),
            sharpen=float(rng.choice([0.0, 0.0, rng.uniform(0.2, 1.5)])),
            noise=float(rng.uniform(0.3, 3.0)),
            quality=int(rng.integers(55, 96)) if rng.random() < 0.6 else None,
        )

    def reach(self, pixel_size: float) -> int:
        """Pixels around a tile that its blur and sharpening see; a multiple of `ALIGN`."""
        spread = 3 * self.blur * (1 + abs(self.fringe)) + max(map(abs, self.lateral))
        return ALIGN * int(np.ceil((spread / pixel_size + 6) / ALIGN))

    def expose(
        self,
        density: Float32Array,
        *,
        pixel_size: float,
        factor: int,
        origin: tuple[int, int],
        field: tuple[int, int],
        seed: int,
    ) -> UInt8Array:
        """Photograph a tile.

        Parameters
        ----------
        density : ndarray of float32, (3, h * factor, w * factor)
            Optical density (base 10) in red, green and blue.
        pixel_size : float
            um of a stored pixel.
        factor : int
            Samples along a stored pixel.
        origin : (int, int)
            First row and column of the tile on the slide, px; multiples of 16.
        field : (int, int)
            Height and width of the whole image, px.
        seed : int
            Of the sensor noise.

        Returns
        -------
        ndarray of uint8, (h, w, 3)
        """
        light = np.exp(density * np.float32(-np.log(10) * self.gamma))
        sigma = self.blur / pixel_size * factor
        for plane, fringe in zip(light, (self.fringe, 0.0, -self.fringe), strict=True):
            spread = max(sigma * (1 + fringe), 0.3)
            ndimage.gaussian_filter(plane, spread, output=plane, truncate=3)
        if any(self.lateral):
            offset = np.asarray(self.lateral) / pixel_size * factor
            light[0], light[2] = _shift(light[0], offset), _shift(light[2], -offset)
        if factor > 1:
            h, w = light.shape[1] // factor, light.shape[2] // factor
            light = light.reshape(3, h, factor, w, factor).mean((2, 4))
        light = light * np.float32(1 - self.flare) + np.float32(self.flare)
        rgb = np.moveaxis(light, 0, 2) * np.asarray(self.light, np.float32)
        rgb *= self._shading(rgb.shape[:2], origin, field)[..., None]
        rgb += np.float32(self.saturation - 1) * (rgb - _mix(rgb, _YCC[:1]))
        # Full scale is where the sensor clips, before the software sharpens.
        rgb = np.clip(rgb, 0, 1) * 255
        rgb += self.noise * _sensor_noise(rgb.shape[:2], origin, seed)
        if self.sharpen:
            soft = ndimage.gaussian_filter(rgb, (1.2, 1.2, 0), truncate=3)
            rgb += np.float32(self.sharpen) * (rgb - soft)
        rgb = np.clip(rgb, 0, 255)
        if self.quality is not None:
            rgb = np.clip(_jpeg(rgb, self.quality), 0, 255)
        return np.asarray(np.rint(rgb), np.uint8)

    def _shading(
        self, shape: tuple[int, int], origin: tuple[int, int], field: tuple[int, int]
    ) -> Float32Array:
        y = (np.arange(shape[0], dtype=np.float32) + origin[0]) / field[0] - 0.5
        x = (np.arange(shape[1], dtype=np.float32) + origin[1]) / field[1] - 0.5
        y, x = y[:, None], x[None, :]
        shading = 1 + np.float32(self.gradient[0]) * y + np.float32(self.gradient[1]) * x
        shading *= 1 - np.float32(2 * self.vignette) * (y * y + x * x)
        return np.asarray(shading, np.float32)


def _shift(plane: Float32Array, offset: np.ndarray) -> Float32Array:
    """Move by a part of a pixel, linearly; what wraps round lies in the tile's margin."""
    for axis in (0, 1):
        whole = int(np.floor(offset[axis]))
        part = np.float32(offset[axis] - whole)
        near = np.roll(plane, whole, axis)
        plane = near + part * (np.roll(near, 1, axis) - near)
    return plane


@cache
def _noise_bank() -> Float32Array:
    """Unit noise, slightly correlated between neighbours as after demosaicing."""
    rng = np.random.default_rng(20_253)
    bank = rng.standard_normal((512, 512, 3), dtype=np.float32)
    for axis in (0, 1):
        bank = np.float32(0.8) * bank + np.float32(0.4) * (
            np.roll(bank, 1, axis) + np.roll(bank, -1, axis)
        )
    return np.asarray(bank / bank.std(), np.float32)


def _sensor_noise(
    shape: tuple[int, int], origin: tuple[int, int], seed: int
) -> Float32Array:
    """Unit noise that depends on the place on the slide, so that a tile repeats exactly."""
    bank = _noise_bank()
    shift = np.random.default_rng([seed, 4]).integers(0, len(bank), 2)
    rows, columns = (
        (np.arange(n) + first + offset) % len(bank)
        for n, first, offset in zip(shape, origin, shift, strict=True)
    )
    return np.asarray(bank.take(rows, axis=0).take(columns, axis=1))


def _jpeg(rgb: Float32Array, quality: int) -> Float32Array:
    """The loss of JPEG: quantised 8x8 cosine blocks, colour at half resolution.

    In numpy rather than through a codec: the same pixels on every machine.
    """
    h, w = rgb.shape[:2]
    ycc = _mix(np.pad(rgb, ((0, -h % ALIGN), (0, -w % ALIGN), (0, 0)), mode="edge"), _YCC)
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = np.maximum(np.floor(_QUANT * scale / 100 + 0.5), 1).astype(np.float32)
    luma = _quantise(ycc[..., 0], table)
    colour = ycc[..., 1:]
    colour = colour[::2, ::2] + colour[1::2, ::2] + colour[::2, 1::2] + colour[1::2, 1::2]
    blue, red = (
        np.repeat(np.repeat(_quantise(plane / 4, table * np.float32(1.4)), 2, 0), 2, 1)
        for plane in np.moveaxis(colour, 2, 0)
    )
    out = _mix(np.stack([luma, blue, red], -1), np.linalg.inv(_YCC).astype(np.float32))
    return out[:h, :w]


def _mix(planes: Float32Array, matrix: Float32Array) -> Float32Array:
    """Matrix product over the last axis, summed in fixed order: BLAS differs by shape."""
    return np.stack(
        [sum(planes[..., k] * row[k] for k in range(len(row))) for row in matrix], -1
    )


def _quantise(plane: Float32Array, table: Float32Array) -> Float32Array:
    h, w = plane.shape
    blocks = plane.reshape(h // 8, 8, w // 8, 8).transpose(0, 2, 1, 3)
    coefficients = fft.dctn(blocks, axes=(2, 3), norm="ortho")
    coefficients = np.rint(coefficients / table) * table
    blocks = fft.idctn(coefficients, axes=(2, 3), norm="ortho")
    return np.asarray(blocks.transpose(0, 2, 1, 3).reshape(h, w), np.float32)
