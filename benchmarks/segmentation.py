"""Segmentation against expert masks, boxes and centres: the numbers the README quotes.

    python benchmarks/segmentation.py --data DIR [--set NAME ...] [--every N] [--worst N]

DIR holds `bccd`, `chula_rbc` and `wbc_segmentation` (what is not there is skipped). One
default setting serves all sets, one core does all the work. Matching is one to one and
greedy by distance.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

import napari_cytosae.core.segmentation as seg
from napari_cytosae.core.images import read_image
from napari_cytosae.core.types import ImageError


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    both = np.count_nonzero(found & truth)
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * both / total if total else 1.0


def matches_in_boxes(points: np.ndarray, boxes: np.ndarray) -> int:
    """Points (n, 2: x, y) paired one to one with the boxes (m, 4) they lie in."""
    if not len(points) or not len(boxes):
        return 0
    x, y = points[:, :1], points[:, 1:]
    inside = (
        (x >= boxes[:, 0]) & (x <= boxes[:, 2]) & (y >= boxes[:, 1]) & (y <= boxes[:, 3])
    )
    rows, columns = linear_sum_assignment(~inside)
    return int(inside[rows, columns].sum())


def matches_in_reach(points: np.ndarray, centres: np.ndarray, reach: float) -> int:
    if not len(points) or not len(centres):
        return 0
    far = np.hypot(*(points[:, None] - centres[None]).transpose(2, 0, 1)) > reach
    rows, columns = linear_sum_assignment(far)
    return int((~far[rows, columns]).sum())


def segment(path: Path, kinds: tuple) -> seg.Cells:
    image = read_image(path)
    start = time.process_time()
    cells = seg.segment(image, kinds=kinds)
    segment.seconds.append(time.process_time() - start)
    return cells


segment.seconds = []


def centroids(cells: seg.Cells, kind: str) -> np.ndarray:
    table = cells.table[cells.table.kind == kind]
    return table[["centroid_x", "centroid_y"]].to_numpy(float)


def wbc_segmentation(folder: Path, every: int, worst: int) -> None:
    for name in ("dataset1", "dataset2"):
        rows = []
        for mask_path in sorted((folder / name).glob("*_mask.png"))[::every]:
            path = mask_path.with_name(mask_path.name.replace("_mask", ""))
            truth = _mask(mask_path)
            cells = segment(path, ("wbc",))
            overlap = np.bincount(cells.labels[truth > 0], minlength=len(cells) + 1)
            best = int(overlap[1:].argmax()) + 1 if len(cells) else 1
            rows.append(
                {
                    "image": path.stem,
                    "nucleus": dice(cells.nuclei == best, truth == 2),
                    "wbc": dice(cells.labels == best, truth > 0),
                    "nucleus_all": dice(cells.nuclei > 0, truth == 2),
                    "wbc_all": dice(cells.labels > 0, truth > 0),
                    "cells": len(cells),
                }
            )
        table = pd.DataFrame(rows)
        mean, median = table.iloc[:, 1:].mean(), table.iloc[:, 1:].median()
        print(
            f"{name}: n={len(table)}  mean (median) Dice of the best cell: "
            f"nucleus {mean.nucleus:.3f} ({median.nucleus:.3f}), WBC {mean.wbc:.3f} "
            f"({median.wbc:.3f}); of all cells: nucleus {mean.nucleus_all:.3f}, "
            f"WBC {mean.wbc_all:.3f}; cells {mean.cells:.2f}"
        )
        if worst:
            print(table.sort_values("nucleus").head(worst).round(3).to_string())
            print(table.sort_values("wbc").head(worst).round(3).to_string())


def _mask(path: Path) -> np.ndarray:
    from PIL import Image

    mask = np.asarray(Image.open(path))
    return mask[..., 0] if mask.ndim == 3 else mask


def bccd(folder: Path, every: int, worst: int) -> None:
    boxes = pd.read_csv(folder / "annotations.csv")
    kinds = {"WBC": "wbc", "RBC": "rbc", "Platelets": "platelet"}
    rows = []
    for name in sorted(path.name for path in (folder / "images").iterdir())[::every]:
        cells = segment(folder / "images" / name, tuple(kinds.values()))
        row = {"image": name}
        for label, kind in kinds.items():
            here = boxes[(boxes.image == name) & (boxes.label == label)]
            here = here[["xmin", "ymin", "xmax", "ymax"]].to_numpy(float)
            points = centroids(cells, kind)
            row |= {
                f"{kind}_hit": matches_in_boxes(points, here),
                f"{kind}_found": len(points),
                f"{kind}_true": len(here),
            }
        rows.append(row)
    table = pd.DataFrame(rows)
    total = table.iloc[:, 1:].sum()
    for kind in kinds.values():
        hit, found, true = (total[f"{kind}_{what}"] for what in ("hit", "found", "true"))
        print(
            f"bccd {kind}: recall {hit / true:.3f} precision {hit / max(found, 1):.3f} "
            f"F1 {2 * hit / (found + true):.3f} ({true} labelled)"
        )
        if worst:
            error = (
                table[f"{kind}_found"] + table[f"{kind}_true"] - 2 * table[f"{kind}_hit"]
            )
            shown = table.assign(error=error).sort_values("error", ascending=False)
            shown = shown[["image", *(c for c in table if c.startswith(kind)), "error"]]
            print(shown.head(worst).to_string())


def chula_rbc(folder: Path, every: int, worst: int) -> None:
    centres = pd.read_csv(folder / "annotations.csv")
    rows = []
    for path in sorted((folder / "images").iterdir())[::every]:
        cells = segment(path, ("wbc", "rbc"))
        here = centres[centres.image == path.name][["x", "y"]].to_numpy(float)
        points = centroids(cells, "rbc")
        rows.append(
            {
                "image": path.name,
                "wbc": len(centroids(cells, "wbc")),
                "hit": matches_in_reach(points, here, reach=15),
                "found": len(points),
                "true": len(here),
            }
        )
    table = pd.DataFrame(rows)
    full = table[table.true >= 40]
    hit, found, true = full.hit.sum(), full.found.sum(), full.true.sum()
    print(
        f"chula_rbc: {table.wbc.mean():.2f} WBC a field (n={len(table)}); RBC centres on "
        f"{len(full)} fields: recall {hit / true:.3f} precision {hit / found:.3f} "
        f"F1 {2 * hit / (found + true):.3f}"
    )
    if worst:
        error = (table.found + table.true - 2 * table.hit)[table.true >= 40]
        print(table.loc[error.sort_values(ascending=False).index].head(worst).to_string())
        print(table.sort_values("wbc", ascending=False).head(worst).to_string())


SETS = {"wbc_segmentation": wbc_segmentation, "bccd": bccd, "chula_rbc": chula_rbc}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--every", type=int, default=1, help="take every n-th image")
    parser.add_argument("--worst", type=int, default=0, help="show the n worst images")
    arguments = parser.parse_args()
    for name in arguments.set:
        if not (arguments.data / name).is_dir():
            print(f"{name}: not in {arguments.data}, skipped")
            continue
        segment.seconds.clear()
        try:
            # A second thread waits more than it computes, and its waiting is CPU time.
            with threadpool_limits(1):
                SETS[name](arguments.data / name, arguments.every, arguments.worst)
        except ImageError as error:
            print(f"{name}: {error}")
        print(f"{name}: median {1e3 * np.median(segment.seconds):.0f} ms CPU an image")


if __name__ == "__main__":
    main()
