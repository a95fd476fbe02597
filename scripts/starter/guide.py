"""What the SAE's concepts are good for, beside reconstructing tokens: a term of its loss.

* The mean concepts of a laboratory's cells resemble each other as their mean tokens do
  (linear centred kernel alignment of the standardised means), and tell the types of the
  cells (share of the types that leave-one-out ridge regression misses). Whatever the size
  of the dictionary, a linear model on mean concepts then knows what one on tokens knows.
* Every concept fires on some patches of every laboratory, so that none is noise on the few
  cells of a small study, nor silent.
* The first concepts stand for the compartments of `scenes.CLASSES`, one each (weighted
  logistic loss on what they have above the threshold).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from labs import tokens_file, types_file
from scenes import CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cytosae.core._trainer import Encode

ALIKE, TYPE, ALIVE, COMPARTMENT = 5.0, 0.2, 0.3, 0.06
"""Weights of the terms, in units of the tokens' variance left unexplained."""
PATCHES = 128
"""Of each cell, drawn anew each step."""
RIDGE = 0.25
STRONGEST, MARGIN = 16, 0.3
"""Patches of a laboratory on which each concept has to pass the threshold, by how much."""
COMPARTMENT_CROPS = 12
SHARPNESS, HEAVIEST = 2.0, 20.0
_LEAST_SPREAD = 1e-3


class Guide:
    """The terms above for the laboratory and the crops of each step.

    Parameters
    ----------
    labs : Path
        Folder written by `labs.write_labs`.
    tokens : ndarray of float16, (crops, 1 + m, width)
        CLS first.
    fractions : ndarray of float16, (crops, m, n_classes)
        What the patches show.
    """

    def __init__(self, labs: Path, tokens: np.ndarray, fractions: np.ndarray) -> None:
        count = len(list(labs.glob("tokens_*.npy")))
        self._labs = [
            (np.load(tokens_file(labs, k), mmap_mode="r"), np.load(types_file(labs, k)))
            for k in range(count)
        ]
        self._tokens, self._fractions = tokens, fractions

    def __call__(self, encode: Encode, step: int) -> torch.Tensor:
        """The loss's term of a step."""
        rng = np.random.default_rng([3, step])
        tokens, types = self._labs[int(rng.integers(len(self._labs)))]
        patches = 1 + rng.permutation(tokens.shape[1] - 1)[:PATCHES]
        means = torch.from_numpy(tokens[:, 1:].mean(1, dtype=np.float32))
        activations, margins = encode(torch.from_numpy(tokens[:, patches]).float())
        concepts = activations.mean(1)
        return (
            ALIKE * unalike(concepts, means)
            + TYPE * missed_types(concepts, torch.from_numpy(types).long())
            + ALIVE * silent(margins)
            + COMPARTMENT * self._missed_compartments(encode, rng)
        )

    def _missed_compartments(
        self, encode: Encode, rng: np.random.Generator
    ) -> torch.Tensor:
        chosen = np.sort(rng.permutation(len(self._tokens))[:COMPARTMENT_CROPS])
        _, margins = encode(torch.from_numpy(self._tokens[chosen, 1:]).float())
        shares = torch.from_numpy(self._fractions[chosen]).float()
        known = shares.sum(-1) > 0.5
        shown = (shares[known] >= 0.5).float()
        weight = (1 - shown.mean(0)) / shown.mean(0).clamp_min(0.01)
        return F.binary_cross_entropy_with_logits(
            SHARPNESS * margins[known][:, : len(CLASSES)],
            shown,
            pos_weight=weight.clamp_max(HEAVIEST),
        )


def unalike(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """1 - linear CKA of (n, p) and (n, q), each column standardised."""
    kernels = [(z := _standardised(values)) @ z.T for values in (one, other)]
    return 1 - (kernels[0] * kernels[1]).sum() / (kernels[0].norm() * kernels[1].norm())


def missed_types(means: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
    """Share of the types' variance that leave-one-out ridge regression leaves open.

    Residuals of the left-out cells in closed form: ``(G y)_i / G_ii`` with G the inverse
    of the regularised kernel. Types weigh alike whatever their numbers.
    """
    z = _standardised(means)
    targets = F.one_hot(types).float()
    targets = targets[:, targets.any(0)]
    targets = targets / targets.sum(0).sqrt()
    targets = targets - targets.mean(0)
    kernel = z @ z.T / z.shape[1]
    inverse = torch.linalg.inv(kernel + RIDGE * torch.eye(len(z)))
    residuals = (inverse @ targets) / inverse.diagonal()[:, None]
    return residuals.square().sum() / targets.square().sum()


def silent(margins: torch.Tensor) -> torch.Tensor:
    """By how much concepts miss `MARGIN` on their `STRONGEST` patches, mean over them."""
    top = margins.flatten(0, -2).topk(STRONGEST, 0).values.mean(0)
    return (MARGIN - top).relu().mean()


def _standardised(values: torch.Tensor) -> torch.Tensor:
    spread = values.std(0, correction=0) + _LEAST_SPREAD
    return (values - values.mean(0)) / spread
