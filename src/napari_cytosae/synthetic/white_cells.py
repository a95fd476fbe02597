"""White cells, drawn by their recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic import shapes
from napari_cytosae.synthetic.recipes import DRAWN
from napari_cytosae.synthetic.red_cells import HALO, refract
from napari_cytosae.synthetic.stain import Dye, Stain
from napari_cytosae.synthetic.textures import clumps, grains, noise

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array
    from napari_cytosae.synthetic.canvas import Canvas
    from napari_cytosae.synthetic.granules import Granules, Range
    from napari_cytosae.synthetic.layout import Placed
    from napari_cytosae.synthetic.recipes import Recipe


class _Tones:
    """Draws densities: cells of one type on one slide took the stain alike."""

    def __init__(self, cell: Placed, rng: np.random.Generator) -> None:
        slide, _ = cell.seed
        self._slide = np.random.default_rng([slide, 5, list(DRAWN).index(cell.cell_type)])
        self._cell = rng

    def __call__(self, span: Range) -> float:
        """A value in `span`, near the slide's own."""
        share = self._slide.random() + self._cell.normal(0, 0.12)
        return float(span[0] + np.clip(share, 0, 1) * (span[1] - span[0]))


def draw_white_cell(canvas: Canvas, cell: Placed, stain: Stain) -> None:
    """Cytoplasm, granules, vacuoles and nucleus of one white cell."""
    recipe = DRAWN[cell.cell_type]
    rng = np.random.default_rng(cell.seed)
    tones = _Tones(cell, rng)
    radius = cell.diameter / 2
    window = canvas.window(cell.y, cell.x, radius * (1.3 + 0.15 * recipe.ragged) + HALO)
    if window is None:
        return
    y, x = shapes.rotate(window.y, window.x, cell.angle)
    # Spread out by the smear: cell and nucleus are drawn out together.
    stretch = np.float32(np.exp(np.clip(rng.normal(0, 0.07), -0.15, 0.15)))
    y, x = y * stretch, x / stretch
    body = _outline(y, x, radius, recipe, rng)
    nucleus = rng.choice(np.array(recipe.nucleus, object))(y, x, radius, rng)
    nucleus = np.minimum(nucleus, body - np.float32(0.2))
    soft = canvas.sample * 1.4
    in_nucleus = shapes.cover(nucleus, max(soft, 0.12))
    in_plasma = shapes.cover(body, max(soft, 0.2)) * (1 - in_nucleus)
    dyes = _cytoplasm(y, x, body, nucleus, recipe, stain, tones, rng)
    for plane in dyes.values():
        plane *= in_plasma
    for granules in recipe.granules:
        where = in_plasma + np.float32(granules.over_nucleus) * in_nucleus
        _add_granules(dyes, granules, y, x, where, stain, tones, rng)
    dna = _chromatin(y, x, nucleus, recipe, stain, tones, rng)
    dyes[Dye.PURPLE] = dyes[Dye.PURPLE] + in_nucleus * dna
    for dye, plane in dyes.items():
        canvas.add(window, dye, plane)
    refract(canvas, window.area, body, stain.refraction)
    area = window.area
    canvas.white[area] = np.maximum(canvas.white[area], body)
    canvas.labels[area][body > 0] = cell.cell_id
    canvas.nuclei[area][body > 0] = 0
    canvas.nuclei[area][nucleus > 0] = cell.cell_id


def _outline(
    y: Float32Array,
    x: Float32Array,
    radius: float,
    recipe: Recipe,
    rng: np.random.Generator,
) -> Float32Array:
    ragged = recipe.ragged * rng.gamma(2.0, 0.5)
    waves = rng.normal(0, np.array((0.06, 0.035, 0.018)) * (0.6 + 0.6 * ragged))
    y, x = shapes.warp(y, x, min(0.03 * radius * ragged, 0.45), radius * 0.9, rng)
    body = shapes.blob(y, x, radius, np.clip(waves, -0.15, 0.15), rng)
    if rng.random() < 0.35 * recipe.ragged:
        # A foot put out between the neighbours.
        turn, far = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.5, 0.85)
        axes = (radius * rng.uniform(0.3, 0.6), radius * rng.uniform(0.25, 0.5))
        foot = shapes.ellipse(y, x, (far * np.sin(turn), far * np.cos(turn)), axes, turn)
        body = shapes.union(body, foot, 0.4 * radius)
    for _ in range(rng.integers(0, 4)):
        # Pressed in by a red cell.
        turn, size = rng.uniform(0, 2 * np.pi), rng.uniform(2.5, 4.5)
        far = radius + size - rng.uniform(0.0, 0.12) * radius
        centre = (far * np.sin(turn), far * np.cos(turn))
        dent = shapes.ellipse(y, x, centre, (size, size), 0.0)
        body = shapes.without(body, dent, 0.2 * radius)
    return body


def _cytoplasm(
    y: Float32Array,
    x: Float32Array,
    body: Float32Array,
    nucleus: Float32Array,
    recipe: Recipe,
    stain: Stain,
    tones: _Tones,
    rng: np.random.Generator,
) -> dict[Dye, Float32Array]:
    azure, eosin = tones(recipe.azure), tones(recipe.eosin)
    uneven = clumps(y, x, rng.uniform(1.0, 2.0), rng) + noise(y, x, rng.uniform(2, 4), rng)
    plasma = 1 + np.float32(recipe.texture * 0.6) * uneven
    plasma += np.float32(recipe.rim) * np.exp(-np.maximum(body, 0) / np.float32(0.7))
    # The film thins towards the edge of the cell.
    plasma *= 1 - np.float32(0.5) * np.exp(-np.maximum(body, 0) / np.float32(0.3))
    if recipe.hof:
        plasma *= 1 - np.float32(recipe.hof) * np.exp(
            np.minimum(nucleus, 0) / np.float32(0.8)
        )
    plasma = np.maximum(plasma, 0)
    if rng.random() < recipe.vacuoles:
        distance, value = grains(y, x, rng.uniform(1.4, 2.4), rng)
        share = rng.uniform(0.03, 0.35)
        size = np.float32(0.2) + np.float32(0.5) * value / np.float32(share)
        hole = shapes.cover(size - distance, 0.3) * (value < share)
        plasma *= 1 - np.float32(rng.uniform(0.35, 0.9)) * hole
    return {
        Dye.AZURE: plasma * np.float32(azure * stain.cytoplasm),
        Dye.EOSIN: plasma * np.float32(eosin * stain.eosin),
        Dye.PURPLE: plasma * np.float32(0.015 + 0.12 * azure * stain.cytoplasm),
        Dye.HEMOGLOBIN: np.zeros_like(plasma),
    }


def _add_granules(
    dyes: dict[Dye, Float32Array],
    granules: Granules,
    y: Float32Array,
    x: Float32Array,
    where: Float32Array,
    stain: Stain,
    tones: _Tones,
    rng: np.random.Generator,
) -> None:
    y, x = shapes.warp(y, x, 0.04, 0.8, rng)
    distance, value = grains(y, x, rng.uniform(*granules.spacing), rng)
    share, size = tones(granules.share), rng.uniform(*granules.size)
    spread = np.float32(size / 2) * (np.float32(0.75) + np.float32(0.5) * value)
    grain = shapes.cover(spread - distance, 0.5 * size) * (value < share) * where
    # Each takes its own amount of dye; 7.3 scrambles the number that chose its size.
    grain *= np.float32(0.7) + np.float32(0.6) * (value * np.float32(7.3) % 1)
    for dye, amount in granules.dyes.items():
        strength = stain.nucleus if dye == Dye.PURPLE else stain.eosin
        dyes[dye] = dyes[dye] + grain * np.float32(tones(amount) * strength)


def _chromatin(
    y: Float32Array,
    x: Float32Array,
    nucleus: Float32Array,
    recipe: Recipe,
    stain: Stain,
    tones: _Tones,
    rng: np.random.Generator,
) -> Float32Array:
    """Density of the nucleus: dark heterochromatin at its edge and in clumps, or a net."""
    blotches = clumps(y, x, rng.uniform(*recipe.clump_size), rng)
    net = 1 - np.minimum(np.abs(noise(y, x, 1.2, rng)), 1.6)
    distance, value = grains(y, x, rng.uniform(0.7, 1.1), rng)
    gaps = shapes.cover(np.float32(0.2) - distance, 0.25) * (value < 0.45)
    inside = np.maximum(nucleus, 0)
    contrast = np.float32(stain.contrast)
    texture = 1 + contrast * (
        np.float32(recipe.clumps) * (blotches - gaps)
        + np.float32(recipe.lace) * net
        + np.float32(0.16) * np.exp(-inside / np.float32(0.22))
    )
    if rng.random() < recipe.nucleoli:
        distance, value = grains(y, x, rng.uniform(3.0, 4.5), rng)
        spot = shapes.cover(np.float32(rng.uniform(0.55, 1.0)) - distance, 0.4) * (
            value < rng.uniform(0.3, 0.8)
        )
        texture *= 1 - np.float32(rng.uniform(0.2, 0.4)) * spot * (nucleus > 0.5)
    thickness = 1 - np.float32(0.35) * np.exp(-inside / np.float32(0.6))
    dna = tones(recipe.dna) * stain.nucleus
    return np.asarray(np.maximum(texture, 0.2) * thickness * np.float32(dna), np.float32)
