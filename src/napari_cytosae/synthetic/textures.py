"""Chromatin, granules and plasma: random textures looked up in small periodic banks.

A bank is drawn once; a cell samples it at its own scale, angle and offset, so a texture
costs one look-up a pixel and depends on the position on the slide only, never on the
window it is drawn in.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array

SIZE = 512
"""Side of the noise bank, px."""
FEATURE = 16
"""Bank pixels a wavelength (noise) or a grain spacing (grains)."""
GRAINS = 32
"""Grains along one side of the grain bank."""
COARSE = 4
"""The second noise bank is this many times finer sampled, for large smooth features."""
OCTAVES = (1.0, 0.75, 0.55)
"""Weights of the patches of clumped chromatin, each half the size of the one before."""


def noise(
    y: Float32Array, x: Float32Array, wavelength: float, rng: np.random.Generator
) -> Float32Array:
    """Isotropic band-limited noise of mean 0 and variance 1.

    Parameters
    ----------
    y, x : ndarray of float32, broadcastable to (h, w)
        Positions, um.
    wavelength : float
        Size of a light and a dark patch together, um.
    rng : Generator
        Gives offset and angle (three draws).

    Returns
    -------
    ndarray of float32, (h, w)
    """
    # Sampled at its nearest pixel, the finer bank would step visibly above 1.2 um.
    zoom = COARSE if wavelength > 1.2 else 1
    rows, columns = _positions(y, x, wavelength / zoom, SIZE, rng)
    return np.asarray(_noise_bank(FEATURE * zoom)[rows, columns])


def clumps(
    y: Float32Array, x: Float32Array, size: float, rng: np.random.Generator
) -> Float32Array:
    """Blotches with smaller blotches in them, between -1 (light) and 1 (dark)."""
    rows, columns = _positions(y, x, size, SIZE, rng)
    return np.asarray(_clump_bank()[rows, columns])


def grains(
    y: Float32Array, x: Float32Array, spacing: float, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Grains scattered at a mean spacing, none touching another's centre.

    Returns
    -------
    distance : ndarray of float32, (h, w)
        From the nearest grain's centre, um.
    value : ndarray of float32, (h, w)
        Uniform in [0, 1), one number a grain: to thin grains out or vary their size.
    """
    distances, values = _grain_bank()
    rows, columns = _positions(y, x, spacing, GRAINS * FEATURE, rng)
    return distances[rows, columns] * np.float32(spacing), values[rows, columns]


def _positions(
    y: Float32Array, x: Float32Array, scale: float, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    angle = rng.uniform(0, 2 * np.pi)
    # Far from 0, so that truncation is floor.
    oy, ox = rng.uniform(0, size, 2) + 64 * size
    c = np.float32(np.cos(angle) * FEATURE / scale)
    s = np.float32(np.sin(angle) * FEATURE / scale)
    rows = (y * c - x * s + np.float32(oy)).astype(np.int32) & (size - 1)
    columns = (y * s + x * c + np.float32(ox)).astype(np.int32) & (size - 1)
    return rows, columns


@cache
def _noise_bank(feature: int) -> Float32Array:
    rng = np.random.default_rng(20_251)
    white = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    fy = np.fft.fftfreq(SIZE)[:, None]
    fx = np.fft.rfftfreq(SIZE)[None, :]
    octaves = np.log2(np.maximum(np.hypot(fy, fx), 1e-9) * feature)
    bank = np.fft.irfft2(white * np.exp(-0.5 * (octaves / 0.45) ** 2), s=(SIZE, SIZE))
    return np.asarray(bank / bank.std(), np.float32)


@cache
def _clump_bank() -> Float32Array:
    noise = _noise_bank(FEATURE)
    index = np.arange(SIZE)
    total = np.zeros_like(noise)
    for octave, weight in enumerate(OCTAVES):
        # The same bank, shrunk and shifted by a prime: still periodic.
        at = (index * 2**octave + 331 * octave) % SIZE
        total += np.float32(weight) * noise[np.ix_(at, at)]
    return np.asarray(np.tanh(1.2 * total), np.float32)


@cache
def _grain_bank() -> tuple[Float32Array, Float32Array]:
    rng = np.random.default_rng(20_252)
    size = GRAINS * FEATURE
    cells = np.arange(GRAINS) * FEATURE
    jitter = rng.integers(2, FEATURE - 2, (2, GRAINS, GRAINS))
    centre = np.ones((size, size), bool)
    value = np.zeros((size, size), np.float32)
    rows, columns = cells[:, None] + jitter[0], cells[None, :] + jitter[1]
    centre[rows, columns] = False
    value[rows, columns] = rng.random((GRAINS, GRAINS), dtype=np.float32)
    pad = 3 * FEATURE
    distance, nearest = ndimage.distance_transform_edt(
        np.pad(centre, pad, mode="wrap"), return_indices=True
    )
    inner = (slice(pad, -pad), slice(pad, -pad))
    values = np.pad(value, pad, mode="wrap")[nearest[0], nearest[1]]
    return (distance[inner] / FEATURE).astype(np.float32), values[inner]
