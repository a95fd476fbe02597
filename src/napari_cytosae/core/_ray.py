"""A tissue's colour whatever its thickness: a ray in the space of optical densities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Ray:
    """Optical densities of one tissue at any thickness: a ray from bare glass outwards."""

    direction: Float32Array
    spread: float

    @classmethod
    def through(cls, samples: Float32Array) -> Ray | None:
        """Fit to samples (n, 3), None for fewer than 20."""
        if len(samples) < 20:
            return None
        direction = np.median(_largest_mode(samples), axis=0)
        ray = cls(direction, 1.0)
        spread = 1.2 * float(np.median(np.sqrt(ray.distance(samples))))
        return cls(direction, max(0.02, spread))

    def distance(self, colour: Float32Array) -> Float32Array:
        """Squared distance of each density in `colour` (..., 3) in units of the spread."""
        length = max(float(self.direction @ self.direction), 1e-6)
        thickness = np.clip(colour @ self.direction / length, 0, 1.8)
        away = colour - thickness[..., None] * self.direction
        squared: Float32Array = np.square(away).sum(axis=-1) / np.float32(self.spread**2)
        return squared


def _largest_mode(colours: Float32Array) -> Float32Array:
    """The 70 % of the colours nearest to their median: robust against a second kind."""
    if len(colours) < 50:
        return colours
    away = np.abs(colours - np.median(colours, axis=0)).sum(axis=1)
    near: Float32Array = colours[away <= np.quantile(away, 0.7)]
    return near
