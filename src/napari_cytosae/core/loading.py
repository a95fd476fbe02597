"""Loading models, in the precision that suits the machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from napari_cytosae.core._pair import open_pair, pick_device
from napari_cytosae.core.cache import open_cache
from napari_cytosae.core.models import Models
from napari_cytosae.core.precision import (
    agree,
    faster_in_bfloat16,
    measured_on,
    probes,
    recall,
    remember,
)
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]

PRECISIONS = ("auto", "float32", "bfloat16")


def load_models(
    backbone: str | Path = "starter",
    sae: str | Path = "starter",
    device: Device = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> Models:
    """Load a backbone and an SAE that fit together.

    Parameters
    ----------
    backbone, sae : str or Path
        A registered name, a hub id or a path.
    device : {"auto", "cpu", "cuda", "mps"}
        ``auto`` takes a GPU where there is one.
    precision : {"auto", "float32", "bfloat16"}
        ``auto`` takes bfloat16 where this machine is faster in it and these models then
        agree with themselves in float32, see `core.precision.agree`; found out once.

    Raises
    ------
    CheckpointError
        A file that is missing, damaged or of the wrong kind.
    ModelMismatchError
        The SAE does not read this backbone's tokens, or not at a block it has.
    CytoError
        This machine has no such device, or there is no such precision.
    """
    if precision not in PRECISIONS:
        raise CytoError(
            f"There is no precision {precision}; use one of {', '.join(PRECISIONS)}."
        )
    began = time.perf_counter()
    where = pick_device(device)
    if precision == "auto":
        models = _fastest(backbone, sae, where)
    else:
        models = Models(*open_pair(backbone, sae), where, precision)
    models.load_seconds = time.perf_counter() - began
    return models


def _fastest(backbone: str | Path, sae: str | Path, device: torch.device) -> Models:
    cache = open_cache()
    folder = None if cache is None else cache.folder
    files = open_pair(backbone, sae)
    here = measured_on(device, *(file.info.sha256 for file in files))
    known = recall(here, folder)
    if known is None and faster_in_bfloat16(device):
        crops = probes()
        # Never the weights of both precisions: those of one stay in the mapped files, which
        # are mapped anew for the other, as what has been read is as large as the weights.
        exact = Models(*files, device, "float32", borrowed=True).encode(crops)
        del files
        fast = Models(*open_pair(backbone, sae), device, "bfloat16")
        if agree(fast.encode(crops), exact):
            remember(here, "bfloat16", folder)
            return fast
        del fast
        files = open_pair(backbone, sae)
    if known is None:
        known = "float32"
        remember(here, known, folder)
    return Models(*files, device, known)
