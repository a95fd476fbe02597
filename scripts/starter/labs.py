"""Cells as laboratories see them: many of one stain, light, lens and field of view.

``python scripts/starter/labs.py --backbone FILE --scenes DIR -o DIR``

The SAE's guide asks of each laboratory's cells what an analyst would: that their mean
concepts tell as much as their mean tokens. Drawn laboratories and BCCD's photographs under
another stain each; fields with a number divisible by `HELD_OUT` stay out for measuring.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from model import normalised
from PIL import Image
from sampling import SIZE, vary
from scenes import TYPES, UNKNOWN, Scenes

from napari_cytosae.core.backbone import build_backbone
from napari_cytosae.core.checkpoints import open_backbone
from napari_cytosae.synthetic import Camera, Stain, render_cell

CELLS, DRAWN, PHOTOGRAPHED = 48, 110, 50
FIELD_UM = (16.0, 30.0)
HELD_OUT = 4
MATURE = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
OTHERS, OTHER_SHARE = ("basophil", "blast", "promyelocyte", "erythroblast"), 0.25
FEWEST = 5
VARIANTS = {
    "neutrophil": ("neutrophil", "neutrophil", "band_neutrophil"),
    "lymphocyte": ("lymphocyte", "large_lymphocyte"),
}
RESTAINED = 0.6
"""Share of the drawn laboratories that are restained on top; photographs always are."""

Lab = tuple[np.ndarray, np.ndarray]
"""Pixels of uint8, (n, 3, SIZE, SIZE), and types as indices into `TYPES`, (n,)."""


def composition(rng: np.random.Generator) -> list[str]:
    """Types of a laboratory's cells, in very unequal numbers as on real smears."""
    names = [*MATURE, *(t for t in OTHERS if rng.random() < OTHER_SHARE)]
    shares = rng.dirichlet(np.full(len(names), 3.0))
    counts = np.maximum(FEWEST, np.round(shares * CELLS).astype(int))
    while counts.sum() > CELLS:
        counts[counts.argmax()] -= 1
    while counts.sum() < CELLS:
        counts[counts.argmin()] += 1
    return [t for t, count in zip(names, counts, strict=True) for _ in range(count)]


def drawn_lab(seed: int) -> Lab:
    """Synthetic cells of one laboratory."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, 91])
    stain, camera = Stain.random(rng), Camera.random(rng)
    field_um = float(rng.uniform(*FIELD_UM))
    restained, light = rng.random() < RESTAINED, int(rng.integers(2**62))
    cells, types = composition(rng), []
    pixels = np.empty((CELLS, 3, SIZE, SIZE), np.uint8)
    for place, cell_type in enumerate(cells):
        drawn = render_cell(
            str(rng.choice(VARIANTS.get(cell_type, (cell_type,)))),
            seed=int(rng.integers(2**40)),
            size=SIZE,
            field_of_view_um=field_um,
            stain=stain,
            camera=camera,
        )
        pixels[place] = _under(light if restained else None, drawn.rgb, drawn.compartments)
        types.append(TYPES.index(cell_type))
    return pixels, np.array(types)


def photographed_lab(seed: int, folder: Path) -> Lab:
    """BCCD's cells as another laboratory might have stained and photographed them."""
    torch.set_num_threads(1)
    scenes = Scenes.load(folder)
    rng = np.random.default_rng([seed, 92])
    cells = scenes.targets
    # One cell of a type is nothing to learn a type from.
    known = (cells["type"] != UNKNOWN) & (cells["type"] != TYPES.index("basophil"))
    candidates = np.flatnonzero(known & (cells["scene"] % HELD_OUT != 0))
    rng.shuffle(candidates)
    chosen: list[int] = []
    for cell_type in np.unique(cells["type"][candidates]):
        of_type = candidates[cells["type"][candidates] == cell_type]
        most = rng.integers(12, 22) if cell_type == 0 else rng.integers(6, 13)
        chosen += of_type[: int(most)].tolist()
    chosen = chosen[:CELLS]
    field_um, light = float(rng.uniform(*FIELD_UM)), int(rng.integers(2**62))
    pixels = np.empty((len(chosen), 3, SIZE, SIZE), np.uint8)
    for place, index in enumerate(chosen):
        rgb, classes = _turned(scenes, cells[index], field_um, rng)
        pixels[place] = _under(light, rgb, classes)
    return pixels, cells["type"][chosen].astype(int)


def _turned(
    scenes: Scenes, cell: np.void, field_um: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """RGB and classes around a cell, turned by quarters and mirrored."""
    scene, (height, width) = int(cell["scene"]), scenes.rgb.shape[1:3]
    shift = 0.05 * cell["diameter"]
    y, x = cell["y"] + rng.normal(0, shift), cell["x"] + rng.normal(0, shift)
    side = min(field_um / scenes.pixel_um[scene], 0.99 * height)
    angle, mirror = int(rng.integers(4)) * np.pi / 2, rng.choice([-1.0, 1.0])
    y = float(np.clip(y, side / 2, height - side / 2))
    x = float(np.clip(x, side / 2, width - side / 2))
    cos, sin, step = np.cos(angle), np.sin(angle), side / SIZE
    a, b, d, e = mirror * cos * step, -sin * step, mirror * sin * step, cos * step
    affine = (a, b, x - (a + b) * SIZE / 2, d, e, y - (d + e) * SIZE / 2)

    def cut(plane: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        picture = Image.fromarray(plane)
        turned = picture.transform((SIZE, SIZE), Image.Transform.AFFINE, affine, resample)
        return np.array(turned)

    return (
        cut(scenes.rgb[scene], Image.Resampling.BILINEAR),
        cut(scenes.classes[scene], Image.Resampling.NEAREST),
    )


def _under(light: int | None, rgb: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Pixels (3, SIZE, SIZE) of uint8 under a stain and light; the same seed, the same."""
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).float() / 255
    if light is not None:
        generator = torch.Generator().manual_seed(light)
        pixels = vary(pixels, torch.from_numpy(np.array(classes)), generator)
    return (pixels * 255).round().byte().numpy()


def write_labs(folder: Path, backbone_file: Path, scenes: Path, workers: int) -> None:
    """Encode all laboratories: ``tokens_*.npy`` (n, 257, width) and ``types_*.npy``.

    A laboratory that is there already is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backbone = build_backbone(open_backbone(backbone_file), -1)
    jobs = [(k, partial(drawn_lab, k)) for k in range(DRAWN)]
    photographs = partial(photographed_lab, folder=scenes / "bccd")
    jobs += [(DRAWN + k, partial(photographs, k)) for k in range(PHOTOGRAPHED)]
    jobs = [(k, job) for k, job in jobs if not tokens_file(folder, k).exists()]
    with ProcessPoolExecutor(workers) as pool:
        results = [(number, pool.submit(job)) for number, job in jobs]
        for number, result in results:
            pixels, types = result.result()
            parts = torch.from_numpy(pixels).split(24)
            with torch.inference_mode():
                encoded = [backbone(normalised(part.float() / 255)) for part in parts]
            np.save(types_file(folder, number), types)
            part = tokens_file(folder, number).with_suffix(".part")
            with part.open("wb") as stream:
                np.save(stream, torch.cat(encoded).half().numpy())
            part.replace(tokens_file(folder, number))
            if number % 10 == 0:
                print(f"laboratory {number}/{DRAWN + PHOTOGRAPHED}", flush=True)


def tokens_file(folder: Path, number: int) -> Path:
    """Where a laboratory's tokens lie."""
    return folder / f"tokens_{number:03}.npy"


def types_file(folder: Path, number: int) -> Path:
    """Where the types of its cells lie."""
    return folder / f"types_{number:03}.npy"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    write_labs(arguments.output, arguments.backbone, arguments.scenes, arguments.threads)


if __name__ == "__main__":
    main()
