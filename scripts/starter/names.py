"""Propose names for plain concepts and write them into the SAE file.

``python scripts/starter/names.py --backbone FILE --sae FILE --scenes DIR``

A concept is named after what it fires on, by its activations on crops in their own light:
ground truth for synthetic cells, weak labels for real ones. Both have to agree that it
finds the target (AUROC) and mostly nothing else (share of its activation); a target that
only one of them has is judged by that one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from model import normalised
from sampling import draw_batch, patch_fractions
from scenes import CLASSES, TYPES, Scenes
from scipy.stats import rankdata

from napari_cytosae.core.backbone import build_backbone
from napari_cytosae.core.checkpoints import open_backbone, open_sae, save_sae
from napari_cytosae.core.sae import Sae

CROPS, PER_BATCH = 480, 16
LEAST_AUROC, LEAST_SHARE, FEWEST_PATCHES = 0.65, 0.55, 100
LEAST_TAUGHT = 0.85
PLAIN = {
    "background": "background",
    "rbc_rim": "red cell rim",
    "rbc_centre": "red cell centre",
    "platelet": "platelet",
    "cytoplasm": "cytoplasm",
    "nucleus": "nucleus",
}
Wanted = dict[str, np.ndarray]
GRANULAR = ("eosinophil", "basophil", "promyelocyte")


def targets(class_planes: torch.Tensor, type_planes: torch.Tensor) -> dict[str, np.ndarray]:
    """Which patches each name means: name -> (n * grid**2,) bool.

    A patch is of a compartment that fills half of it, on a border where two share it.
    """
    classes = patch_fractions(class_planes, len(CLASSES)).flatten(0, 1).numpy()
    types = patch_fractions(type_planes, len(TYPES)).flatten(0, 1).numpy()
    share = dict(zip(CLASSES, classes.T, strict=True))
    white = share["cytoplasm"] + share["nucleus"]
    found = {PLAIN[name]: values >= 0.5 for name, values in share.items()}
    found["edge of the nucleus"] = np.minimum(share["nucleus"], share["cytoplasm"]) > 0.25
    found["edge of a white cell"] = (white > 0.25) & (share["background"] > 0.25)
    red = share["rbc_rim"] + share["rbc_centre"]
    found["red cell"] = red >= 0.5
    found["edge of a red cell"] = (share["rbc_rim"] > 0.25) & (share["background"] > 0.25)
    found["white cell"] = white >= 0.5
    for index, cell_type in enumerate(TYPES):
        of_type = types[:, index] >= 0.5
        inside = "granules" if cell_type in GRANULAR else "cytoplasm"
        found[f"{cell_type} {inside}"] = of_type & (share["cytoplasm"] >= 0.5)
        found[f"{cell_type} nucleus"] = of_type & (share["nucleus"] >= 0.5)
        found[cell_type] = of_type
    return found


def judge(values: np.ndarray, wanted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """AUROC and share of activation for each name and latent: (2, d_sae)."""
    mass = np.maximum(values.sum(0), 1e-9)
    alive = np.flatnonzero(values.any(0))
    ranks = {k: rankdata(values[:, k]) for k in alive}
    scores = {}
    for name, positive in wanted.items():
        n_pos, n_neg = int(positive.sum()), int((~positive).sum())
        if n_pos < FEWEST_PATCHES:
            continue
        auroc = np.full(values.shape[1], 0.5)
        for k in alive:
            rank_sum = ranks[k][positive].sum()
            auroc[k] = (rank_sum - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)
        scores[name] = np.stack([auroc, values[positive].sum(0) / mass])
    return scores


def propose(evidence: list[dict[str, np.ndarray]], d_sae: int) -> dict[int, str]:
    """The narrowest name that holds in all evidence there is, for each latent.

    The first concepts were taught a compartment each and are named after it where they
    find it.
    """
    names = {}
    for k, compartment in enumerate(CLASSES):
        name = PLAIN[compartment]
        found = [scores[name][0, k] for scores in evidence if name in scores]
        if found and min(found) >= LEAST_TAUGHT:
            names[k] = name
    for k in range(d_sae):
        if k in names:
            continue
        best = (0.0, "")
        for name in {name for scores in evidence for name in scores}:
            found = [scores[name][:, k] for scores in evidence if name in scores]
            auroc = min(f[0] for f in found)
            share = min(f[1] for f in found)
            if auroc >= LEAST_AUROC and share >= LEAST_SHARE:
                best = max(best, (auroc + share + 0.2 * (" " in name), name))
        if best[1]:
            names[k] = best[1]
    return names


def latents_on(
    scenes: Scenes, backbone_file: Path, sae: Sae, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Patch latents on crops of one stack in their own light, and what they show."""
    backbone = build_backbone(open_backbone(backbone_file), -1)
    values, classes, types = [], [], []
    for start in range(0, CROPS, PER_BATCH):
        batch = draw_batch([(scenes, 1.0)], PER_BATCH, np.random.default_rng([seed, start]))
        with torch.inference_mode():
            tokens = backbone(normalised(batch.clean))[:, 1:]
            values.append(sae.encode(tokens).flatten(0, 1).half())
        classes.append(batch.classes)
        types.append(batch.types)
    found = targets(torch.cat(classes), torch.cat(types))
    return torch.cat(values).float().numpy(), found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--sae", type=Path, required=True, help="gets the names")
    parser.add_argument("--scenes", type=Path, required=True)
    arguments = parser.parse_args()
    file = open_sae(arguments.sae)
    sae = Sae(file)
    evidence = []
    for seed, name in enumerate(("synthetic", "bccd"), start=11):
        scenes = Scenes.load(arguments.scenes / name)
        values, found = latents_on(scenes, arguments.backbone, sae, seed)
        evidence.append(judge(values, found))
    names = propose(evidence, sae.info.d_sae)
    info = file.info
    save_sae(
        arguments.sae,
        file.tensors,
        kind=info.kind,
        layer=info.layer,
        k=info.k,
        names=names,
        storage="float16",
        name="starter",
        backbone=info.backbone,
        training_data=info.training_data,
        licence=info.licence,
    )
    for concept, text in names.items():
        print(f"{concept:5d} {text}")


if __name__ == "__main__":
    main()
