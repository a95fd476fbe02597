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

from napari_cytosae.core._glass import DARK, OFFSET, glass_light, surface

if TYPE_CHECKING:
    from napari_cytosae.core._glass import Light
    from napari_cytosae.core.types import BoolArray, Float32Array

_REDDER = 0.25
"""By how much the red of a nucleus, relative to its green, exceeds that of blood."""
_RESIDUE = 0.04
"""Basic dye that may be left of blood: far less than a nucleus has."""
GREY = 0.7
"""Least share of the green density that a grey thing has in red and in blue, too; red cells
have less than half of it."""
_MOSTLY = 0.7
"""Share of what is denser than glass that is thin and grey where the image has no colour:
a sixth is the most that dust and pointers have on a stained one."""
_THIN = 0.35
"""Density that grey red cells stay below; pen and pointer are mostly above."""
_BLACK = 0.8
"""Density of ink, above that of nuclei: all that tells it where cells are grey, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Stain:
    """Absorption of each pixel of one image.

    Attributes
    ----------
    density : ndarray of float32, (H, W, 3)
        log10(background / intensity) of red, green and blue.
    void : ndarray of bool, (H, W)
        Pixels without light (black border, missing tile) or not scanned: never part of a
        cell.
    noise : float
        Standard deviation of the summed density over the background.
    basic : ndarray of float32, (H, W)
        Basic dye (nuclei, basophilic cytoplasm, platelets): red and green density less as
        much of the blue as makes the red cells of this image vanish.
    foreign : ndarray of bool, (H, W)
        Pixels no dye gives: grey (pen, pointer, dust), or yellow to red paint.
    colourless : bool
        Most of what is seen is thin and grey, so red cells are: that is not foreign then.
    """

    density: Float32Array
    void: BoolArray
    noise: float
    basic: Float32Array
    foreign: BoolArray
    colourless: bool

    @property
    def haemoglobin(self) -> Float32Array:
        """Green and blue density: what red cells are seen by."""
        return self.density[..., 1] + np.float32(0.5) * self.density[..., 2]


def stain(rgb: Float32Array, light: Light | None = None) -> Stain:
    """Optical density of an image against its own background.

    Parameters
    ----------
    rgb : ndarray of float32, (H, W, 3)
        Intensities, 0 to 255.
    light : Light, optional
        Of this image, where it is known.

    Raises
    ------
    ImageError
        If the image has no bright background, as in fluorescence or a negative.
    """
    light = light or glass_light(rgb)
    # A plane a colour: most of what follows looks at one at a time.
    planes = np.array(np.moveaxis(rgb, -1, 0), np.float32, order="C")
    void = np.logical_and.reduce(planes < DARK) | light.unscanned(planes)
    planes += np.float32(OFFSET)
    for plane, terms in zip(planes, light.terms.T, strict=True):
        glass = np.clip(surface(terms, *plane.shape), 1, 255)
        np.divide(glass + np.float32(OFFSET), plane, out=plane)
    density = np.moveaxis(np.log10(planes, out=planes), 0, -1)
    density[void] = 0
    colourless = _is_colourless(density, light.noise)
    foreign = _foreign(density, _BLACK if colourless else 0.1)
    return Stain(density, void, light.noise, _basic(density), foreign, colourless)


def _is_colourless(density: Float32Array, noise: float) -> bool:
    red, green, blue = np.moveaxis(density[::2, ::2], -1, 0)
    seen = green > max(0.04, 4 * noise)
    grey = np.minimum(red, blue) > np.float32(GREY) * green
    return bool((grey & seen & (green < _THIN)).sum() > _MOSTLY * seen.sum())


def _foreign(density: Float32Array, floor: float) -> BoolArray:
    """Paint, and what is grey and denser than `floor`."""
    red, green, blue = np.moveaxis(density, -1, 0)
    grey = (np.minimum(red, blue) > np.float32(0.8) * green) & (green > floor)
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
