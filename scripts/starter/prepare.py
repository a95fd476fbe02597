"""Build the starter's training fields.

``python scripts/starter/prepare.py --data DIR -o DIR``

BCCD and Chula are labelled by the package's own segmentation (weak labels), the types of
BCCD's white cells by ``bccd_types.csv``; synthetic smears bring their ground truth. A
stack that is there already is kept.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from scenes import CLASSES, HEIGHT, TARGET, TYPES, UNKNOWN, WIDTH, Scenes
from scipy import ndimage

from napari_cytosae.core.segmentation import segment
from napari_cytosae.synthetic import Camera, Stain, make_slide

if TYPE_CHECKING:
    from collections.abc import Iterable

SYNTHETIC_FIELDS = 1000
CELLS_A_FIELD = 5
RBC_UM = 7.5
BCCD_UM = RBC_UM / 105
"""From the median width of BCCD's 2,000 boxes of red cells, px."""
CHULA_UM = 0.20
"""From the red cells that the segmentation measures in its fields."""
WEIGHTS = {
    "neutrophil": 3.0,
    "band_neutrophil": 1.0,
    "metamyelocyte": 0.5,
    "lymphocyte": 2.2,
    "large_lymphocyte": 1.8,
    "monocyte": 3.0,
    "eosinophil": 2.5,
    "basophil": 1.2,
    "blast": 1.2,
    "promyelocyte": 1.0,
    "erythroblast": 0.8,
}
TYPE_OF = {
    "band_neutrophil": "neutrophil",
    "metamyelocyte": "neutrophil",
    "large_lymphocyte": "lymphocyte",
}
Field = tuple[
    np.ndarray, np.ndarray, np.ndarray, list[tuple[float, float, float, int]], float
]
"""RGB, classes, types, targets (y, x, diameter in px, type), pixel size."""


def synthetic_field(seed: int) -> Field:
    """One drawn field, from a laboratory of its own."""
    rng = np.random.default_rng([seed, 17])
    names, weights = list(WEIGHTS), np.array(list(WEIGHTS.values()))
    white = rng.choice(
        names, int(rng.integers(3, CELLS_A_FIELD + 2)), p=weights / weights.sum()
    )
    um = float(rng.uniform(0.07, 0.13))
    smear = make_slide(
        (HEIGHT, WIDTH),
        um,
        seed,
        wbc={str(name): int((white == name).sum()) for name in set(white)},
        n_rbc=round(HEIGHT * WIDTH * um**2 * 0.0115 * rng.choice([0.1, 0.6, 1.0, 1.3])),
        stain=Stain.random(rng),
        camera=Camera.random(rng),
        crowding=float(rng.beta(1, 2.5)),
    ).render()
    kinds = dict(zip(smear.table.cell_id, smear.table.kind, strict=True))
    types = np.full(smear.labels.shape, UNKNOWN, np.uint8)
    targets = []
    for cell in smear.table.itertuples():
        if cell.kind == "wbc":
            number = TYPES.index(TYPE_OF.get(cell.cell_type, cell.cell_type))
            types[smear.labels == cell.cell_id] = number
            targets.append(
                (cell.centroid_y, cell.centroid_x, cell.diameter_um / um, number)
            )
    classes = class_map(smear.labels, smear.nuclei, kinds)
    return smear.rgb, classes, types, targets, um


def real_field(path: Path, um: float, boxes: pd.DataFrame | None) -> Field:
    """One photographed field with weak labels; `boxes` are its typed white cells."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    cells = segment(rgb, um, kinds=("wbc", "rbc", "platelet"))
    kinds = dict(zip(cells.table.cell_id, cells.table.kind, strict=True))
    classes = class_map(cells.labels, cells.nuclei, kinds)
    classes[(classes == 0) & _stained(rgb)] = UNKNOWN
    types = np.full(classes.shape, UNKNOWN, np.uint8)
    targets = []
    for box in () if boxes is None else boxes.itertuples():
        number = TYPES.index(box.cell_type) if isinstance(box.cell_type, str) else UNKNOWN
        inside = np.s_[box.ymin : box.ymax, box.xmin : box.xmax]
        # What is no red cell and no glass in a white cell's box is the white cell.
        types[inside][np.isin(classes[inside], (4, 5))] = number
        height, width = box.ymax - box.ymin, box.xmax - box.xmin
        centre = ((box.ymin + box.ymax) / 2, (box.xmin + box.xmax) / 2)
        targets.append((*centre, max(height, width), number))
    return rgb, classes, types, targets, um


def class_map(labels: np.ndarray, nuclei: np.ndarray, kinds: dict[int, str]) -> np.ndarray:
    """Labels of cells as `CLASSES`; a red cell's centre is the inner half of its depth."""
    names = {"wbc": "cytoplasm", "rbc": "rbc_rim", "platelet": "platelet"}
    table = np.zeros(int(labels.max(initial=0)) + 1, np.uint8)
    for cell, kind in kinds.items():
        table[cell] = CLASSES.index(names[kind])
    classes = table[labels]
    # Borders between touching cells count as edges.
    edge = (labels != np.roll(labels, 1, 0)) | (labels != np.roll(labels, 1, 1))
    depth = ndimage.distance_transform_edt(np.pad(~edge & (labels > 0), 1, mode="edge"))
    depth = depth[1:-1, 1:-1]
    deepest = np.zeros(len(table))
    np.maximum.at(deepest, labels.ravel(), depth.ravel())
    red = classes == CLASSES.index("rbc_rim")
    classes[red & (depth > 0.5 * deepest[labels])] = CLASSES.index("rbc_centre")
    classes[nuclei > 0] = CLASSES.index("nucleus")
    return classes


def _stained(rgb: np.ndarray) -> np.ndarray:
    """Pixels clearly darker than the glass in green."""
    green = ndimage.gaussian_filter(rgb[..., 1].astype(np.float32), 2)
    return green < 0.82 * np.quantile(green, 0.95)


def stack(fields: Iterable[Field]) -> Scenes:
    """Put fields together."""
    rgb, classes, types, targets, pixel_um = zip(*fields, strict=True)
    rows = [(k, *target) for k, found in enumerate(targets) for target in found]
    return Scenes(
        np.stack(rgb),
        np.stack(classes),
        np.stack(types),
        np.array(rows, TARGET),
        np.array(pixel_um, np.float32),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="holds bccd/ and chula_rbc/"
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--fields", type=int, default=SYNTHETIC_FIELDS, help="synthetic ones"
    )
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    typed = pd.read_csv(Path(__file__).with_name("bccd_types.csv"))
    boxes = dict(list(typed.groupby("image")))
    bccd = sorted((arguments.data / "bccd" / "images").glob("*.jpg"))
    chula = sorted((arguments.data / "chula_rbc").rglob("*.jpg"))
    with ProcessPoolExecutor(arguments.workers) as pool:
        jobs = {
            "bccd": lambda: pool.map(
                real_field, bccd, [BCCD_UM] * len(bccd), [boxes.get(p.name) for p in bccd]
            ),
            "chula": lambda: pool.map(
                partial(real_field, um=CHULA_UM, boxes=None), chula, chunksize=4
            ),
            "synthetic": lambda: pool.map(
                synthetic_field, range(arguments.fields), chunksize=8
            ),
        }
        for name, job in jobs.items():
            if not (arguments.output / name).exists():
                scenes = stack(job())
                scenes.save(arguments.output / name)
                print(f"{name}: {len(scenes)} fields, {len(scenes.targets)} white cells")


if __name__ == "__main__":
    main()
