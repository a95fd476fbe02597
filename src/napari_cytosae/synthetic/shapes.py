"""Outlines as depth fields: um inside the edge (positive) or outside it (negative)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic.textures import noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import Float32Array

ANGLES = 720


def blob(
    y: Float32Array,
    x: Float32Array,
    radius: float,
    waviness: Sequence[float] | np.ndarray,
    rng: np.random.Generator,
) -> Float32Array:
    """A round outline bent by harmonics.

    Parameters
    ----------
    y, x : ndarray of float32, broadcastable to (h, w)
        um from the centre.
    radius : float
        Mean radius, um.
    waviness : sequence of float
        Relative amplitude of harmonics 2, 3, ...; the first is ovality.
    rng : Generator
        Gives their phases.
    """
    theta = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    outline = np.ones(ANGLES)
    for k, amplitude in enumerate(waviness, start=2):
        outline += amplitude * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    return polar(y, x, outline * radius)


def polar(y: Float32Array, x: Float32Array, outline: np.ndarray) -> Float32Array:
    """Depth below a closed outline given as `ANGLES` radii, um."""
    table = np.append(outline, outline[0]).astype(np.float32)
    turn = np.arctan2(y, x) * np.float32(ANGLES / (2 * np.pi)) + np.float32(ANGLES)
    return table[turn.astype(np.int32) % ANGLES] - np.hypot(y, x)


def ellipse(
    y: Float32Array,
    x: Float32Array,
    centre: tuple[float, float],
    axes: tuple[float, float],
    angle: float,
) -> Float32Array:
    """An ellipse with half-axes `axes`; depth is exact on the edge only."""
    dy, dx = y - np.float32(centre[0]), x - np.float32(centre[1])
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (dx * c + dy * s) / np.float32(axes[0]), (dy * c - dx * s) / np.float32(axes[1])
    return (1 - np.hypot(u, v)) * np.float32(min(axes))


def tube(
    y: Float32Array,
    x: Float32Array,
    points: np.ndarray,
    radii: Sequence[float] | np.ndarray,
) -> Float32Array:
    """A bent tube through `points` ((n, 2), y and x in um), its radius changing."""
    depth: Float32Array | None = None
    pts = np.asarray(points, np.float32)
    rad = np.asarray(radii, np.float32)
    for (ay, ax), (by, bx), ra, rb in zip(
        pts[:-1], pts[1:], rad[:-1], rad[1:], strict=True
    ):
        vy, vx = by - ay, bx - ax
        along = ((y - ay) * vy + (x - ax) * vx) / (vy * vy + vx * vx + np.float32(1e-6))
        along = np.clip(along, 0, 1)
        piece = ra + (rb - ra) * along - np.hypot(y - ay - along * vy, x - ax - along * vx)
        depth = piece if depth is None else np.maximum(depth, piece)
    assert depth is not None
    return depth


def union(a: Float32Array, b: Float32Array, softness: float) -> Float32Array:
    """Both shapes, their joint rounded over `softness` um."""
    h = np.maximum(np.float32(softness) - np.abs(a - b), 0)
    return np.asarray(np.maximum(a, b) + h * h * np.float32(0.25 / softness))


def without(a: Float32Array, b: Float32Array, softness: float) -> Float32Array:
    """Shape `a` with `b` cut out, the cut's edge rounded over `softness` um."""
    return -union(-a, b, softness)


def warp(
    y: Float32Array,
    x: Float32Array,
    amplitude: float,
    wavelength: float,
    rng: np.random.Generator,
) -> tuple[Float32Array, Float32Array]:
    """Positions moved by smooth noise of standard deviation `amplitude` um."""
    dy, dx = noise(y, x, wavelength, rng), noise(y, x, wavelength, rng)
    return y + np.float32(amplitude) * dy, x + np.float32(amplitude) * dx


def rotate(
    y: Float32Array, x: Float32Array, angle: float
) -> tuple[Float32Array, Float32Array]:
    """Positions in a frame turned by `angle`."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return y * c - x * s, y * s + x * c


def cover(depth: Float32Array, softness: float) -> Float32Array:
    """Share of a pixel that lies inside, the edge spread over `softness` um."""
    return np.asarray(np.clip(depth / np.float32(softness) + np.float32(0.5), 0, 1))


def bump(depth: Float32Array, at: float, width: float) -> Float32Array:
    """A Gaussian line along the contour `depth` = `at`."""
    z = (depth - np.float32(at)) / np.float32(width)
    return np.exp(-z * z)
