"""What a backbone and its SAE are worth on cells they were not trained on.

Measured on ``wbc_segmentation`` (zxaoyou/segmentation_WBC), which trains nothing here:

* for each latent, how well its activation alone tells nucleus patches from all others,
  and cytoplasm patches from all others (AUROC over the patches of all images of a set;
  a patch belongs to what covers at least half of it); the best latent counts;
* cell type from each cell's mean concept activations: standardised, logistic regression
  (C = 0.1, balanced), stratified 5-fold, macro-F1, mean over five seeds, classes with at
  least 5 cells; beside it the same from 24-bin HSV histograms;
* L0 (active latents a patch), dead latents (never active on any patch of a set, and of
  both), and explained variance (centred) of the patch tokens.

Usage: ``python benchmarks/starter.py --data DIR [--backbone R] [--sae R] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.stats import rankdata
from skimage.color import rgb2hsv
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import napari_cytosae as cyto
from napari_cytosae.core import registry
from napari_cytosae.core.checkpoints import open_sae
from napari_cytosae.core.sae import Sae

SETS = ("dataset1", "dataset2")
COMPARTMENTS = {"nucleus": 2, "cytoplasm": 1}
SEEDS, FOLDS, FEWEST = 5, 5, 5


@dataclass(frozen=True, eq=False)
class CellSet:
    images: list[np.ndarray]
    masks: list[np.ndarray]
    types: np.ndarray


def read_set(folder: Path) -> CellSet:
    labels = pd.read_csv(folder / "labels.csv", dtype=str)
    images, masks = [], []
    for name in labels.image:
        stem = Path(name).stem
        images.append(np.asarray(Image.open(_picture(folder, stem)).convert("RGB")))
        masks.append(np.asarray(Image.open(folder / f"{stem}_mask.png")))
    return CellSet(images, masks, labels.cell_type.to_numpy())


def _picture(folder: Path, stem: str) -> Path:
    return next(p for s in (".png", ".bmp", ".jpg") if (p := folder / (stem + s)).exists())


def patch_labels(mask: np.ndarray, value: int, grid: int) -> np.ndarray:
    """Which patches a compartment covers by at least half: (grid**2,) bool."""
    picture = Image.fromarray((mask == value).astype(np.uint8) * 255)
    size = 16 * grid
    share = np.asarray(picture.resize((size, size), Image.Resampling.NEAREST)) / 255.0
    return share.reshape(grid, 16, grid, 16).mean((1, 3)).ravel() >= 0.5


def auroc_of_each(latents: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """AUROC of every column of (n, k), ties counted half."""
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    result = np.full(latents.shape[1], 0.5)
    for k in np.flatnonzero(latents.any(0)):
        ranks = rankdata(latents[:, k])
        result[k] = (ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)
    return result


def type_f1(features: np.ndarray, types: np.ndarray) -> float:
    """Macro-F1 by the protocol above."""
    names, counts = np.unique(types, return_counts=True)
    kept = np.isin(types, names[counts >= FEWEST])
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    )
    scores = []
    for seed in range(SEEDS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        predicted = cross_val_predict(model, features[kept], types[kept], cv=folds)
        scores.append(f1_score(types[kept], predicted, average="macro"))
    return float(np.mean(scores))


def histograms(images: list[np.ndarray]) -> np.ndarray:
    """24-bin histogram of each HSV channel, (n, 72)."""
    rows = []
    for image in images:
        channels = rgb2hsv(image).reshape(-1, 3).T
        rows.append([np.histogram(c, 24, (0, 1), density=True)[0] for c in channels])
    return np.array(rows).reshape(len(images), -1)


def measure(
    models: cyto.Models, sae: Sae, cells: CellSet
) -> tuple[dict[str, float], np.ndarray]:
    """Numbers of one set, and which latents fired on it."""
    grid = models.backbone_info.grid
    tokens = models.tokens(cells.images)[:, 1:]
    with torch.inference_mode():
        cells_of = torch.from_numpy(tokens).split(16)
        latents = [sae.encode(part) for part in cells_of]
        error = sum(
            float((sae.decode(f) - x).square().sum())
            for f, x in zip(latents, cells_of, strict=True)
        )
        flat = torch.from_numpy(tokens).flatten(0, 1)
        spread = float((flat - flat.mean(0)).square().sum())
    values = torch.cat(latents).flatten(0, 1).numpy()
    found: dict[str, float] = {}
    for name, value in COMPARTMENTS.items():
        positive = np.concatenate([patch_labels(m, value, grid) for m in cells.masks])
        scores = auroc_of_each(values, positive)
        found[f"{name}_auroc"] = float(scores.max())
        found[f"{name}_latent"] = int(scores.argmax())
    means = values.reshape(len(cells.images), grid**2, -1).mean(1)
    found["type_f1"] = type_f1(means, cells.types)
    found["type_f1_tokens"] = type_f1(tokens.mean(1), cells.types)
    found["type_f1_histograms"] = type_f1(histograms(cells.images), cells.types)
    found["l0"] = float((values > 0).sum(1).mean())
    found["explained_variance"] = 1 - error / spread
    fired = (values > 0).any(0)
    found["dead"] = float(1 - fired.mean())
    return found, fired


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="holds wbc_segmentation/")
    parser.add_argument("--backbone", default="starter")
    parser.add_argument("--sae", default="starter")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    models = cyto.load_models(arguments.backbone, arguments.sae, precision="float32")
    sae = Sae(open_sae(registry.resolve(arguments.sae, "sae")))
    results, alive = {}, []
    for name in SETS:
        cells = read_set(arguments.data / "wbc_segmentation" / name)
        results[name], fired = measure(models, sae, cells)
        alive.append(fired)
    results["both"] = {"dead": float(1 - np.logical_or(*alive).mean())}
    print(pd.DataFrame(results).round(3).to_string(na_rep=""))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
