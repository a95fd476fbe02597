"""bfloat16 where it is faster and right: the machine is timed and the models are probed."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.layers.mlp import Mlp
from torch import nn

from napari_cytosae import __version__
from napari_cytosae.core._products import Product
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cytosae.core._products import Activation
    from napari_cytosae.core.backbone import Backbone
    from napari_cytosae.core.sae import Sae
    from napari_cytosae.core.types import ConceptActivations, Precision, UInt8Array

MIN_SPEED_UP = 1.5
MAX_COUNT_ERROR = 0.01
MIN_TOP_OVERLAP = 0.95
TOP = 10

_CHOICES = "precision.json"


def use(
    backbone: Backbone, sae: Sae, precision: Precision, *, borrowed: bool = False
) -> None:
    """Run the products in one precision, in place; residual stream and norms are float32.

    Parameters
    ----------
    backbone : Backbone
        Its linear layers are replaced; the patch embedding, cheap and first, is not.
    sae : Sae
        On the same device.
    precision : {"float32", "bfloat16"}
        Of the products.
    borrowed : bool
        In float32, leave the products' weights where they are, as `Product` takes them.
    """
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    largest = max(weights.numel() for weights in backbone.vit.blocks.parameters())
    scratch = sae.b_dec.new_empty(largest, dtype=dtype)
    block: Any
    for block in backbone.vit.blocks:
        if dtype == torch.bfloat16 and sae.b_dec.device.type == "cpu":
            # Two products and a softmax are twice as fast as torch's fused attention.
            block.attn.fused_attn = False
        activations: dict[str, Activation] = {}
        if isinstance(block.mlp, Mlp) and _is_exact_gelu(block.mlp.act):
            activations["mlp.fc1"] = "gelu"
            block.mlp.act = nn.Identity()
        for name, layer in list(block.named_modules()):
            if isinstance(layer, nn.Linear):
                product = Product(
                    layer.weight,
                    layer.bias,
                    dtype,
                    activations.get(name, "none"),
                    scratch,
                    borrowed=borrowed,
                )
                block.set_submodule(name, product)
    # The products hold copies of their weights; with the rest, which is small, copied as
    # well, nobody holds the file they were mapped from.
    for parameter in backbone.parameters():
        parameter.data = parameter.data.clone()
    sae.use(dtype, borrowed=borrowed)


def recall(made_for: str, folder: Path | None) -> Precision | None:
    """Return what `remember` kept, or None: measured once, the answer stays the same.

    Parameters
    ----------
    made_for : str
        Of `measured_on`.
    folder : Path or None
        Of the cache; None where nothing is kept.
    """
    kept = {} if folder is None else _choices(folder / _CHOICES)
    choice = kept.get(made_for)
    return choice if choice in ("float32", "bfloat16") else None


def remember(made_for: str, precision: Precision, folder: Path | None) -> None:
    """Keep which precision is the fastest that agrees; where there is room for it."""
    if folder is None:
        return
    path = folder / _CHOICES
    kept = _choices(path) | {made_for: precision}
    with suppress(OutputError), atomic_file(path) as temporary:
        temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def measured_on(device: torch.device, *sha256: str) -> str:
    """What a choice of precision depends on: this machine, this torch, these models."""
    facts = [
        platform.node(),
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        torch.__version__,
        __version__,
        *sha256,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _choices(path: Path) -> dict[str, Precision]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def faster_in_bfloat16(device: torch.device) -> bool:
    """Time a small product both ways: without hardware for it, bfloat16 is the slower."""
    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones((512, 512), dtype=dtype, device=device)
        seconds[dtype] = min(_seconds(matrix) for _ in range(4))
    return seconds[torch.float32] > MIN_SPEED_UP * seconds[torch.bfloat16]


def agree(fast: ConceptActivations, exact: ConceptActivations) -> bool:
    """Tell whether fast activations may stand for the exact ones of the same crops.

    They may when ``sum |n - n32| / sum n32 <= 1 %`` over the latents, n being `n_patches`
    summed over the cells, and the ten strongest concepts of a cell by `mean` overlap by
    95 % or more. Where nothing fires nothing is shown, and they may not.

    Parameters
    ----------
    fast, exact : ConceptActivations
        Of the same crops.
    """
    counts = [np.asarray(a.n_patches.sum(axis=0)) for a in (fast, exact)]
    if not counts[1].sum():
        return False
    error = np.abs(counts[0] - counts[1]).sum() / counts[1].sum()
    tops = [np.argsort(-a.mean.toarray(), axis=1)[:, :TOP] for a in (fast, exact)]
    pairs = zip(*tops, strict=True)
    shared = [len(np.intersect1d(a, b)) / len(a) for a, b in pairs]
    return bool(error <= MAX_COUNT_ERROR and np.mean(shared) >= MIN_TOP_OVERLAP)


def probes() -> list[UInt8Array]:
    """Two drawn cells to probe models with: a round and a cleft nucleus."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    cells = []
    for nucleus in (np.hypot(x, y) < 0.45, np.hypot(np.abs(x) - 0.3, y) < 0.28):
        rgb = np.full((224, 224, 3), (232.0, 222.0, 226.0))
        rgb[np.hypot(x, y) < 0.65] = (201, 178, 208)
        rgb[nucleus] = (112, 64, 148)
        noisy = rgb + rng.normal(0, 6, rgb.shape)
        cells.append(noisy.clip(0, 255).astype(np.uint8))
    return cells


def _is_exact_gelu(module: nn.Module) -> bool:
    return isinstance(module, nn.GELU) and module.approximate == "none"


def _seconds(matrix: torch.Tensor) -> float:
    start = time.perf_counter()
    # Reading one value waits for the device.
    (matrix @ matrix)[0, 0].item()
    return time.perf_counter() - start
