"""What a training step of each kind of SAE costs, beside a plain dense one.

``python benchmarks/train.py [--size starter|cytosae] [--device cuda] [--images 16]``

Tokens are random, so that nothing is needed but this package; seconds are processor
seconds on a CPU (a busy machine changes them little), wall seconds on a GPU.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from napari_cytosae.core._trainer import Trainer
from napari_cytosae.core._training_start import fresh_tensors
from napari_cytosae.core.training_config import TrainingConfig

TOKENS = 257
SIZES = {"starter": (192, 16, 20), "cytosae": (768, 64, 32)}
STEPS = 3


def measured(step: object, device: torch.device) -> float:
    """Seconds of one step, the first one apart."""
    assert callable(step)
    step()
    on_gpu = device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    start = clock()
    for _ in range(STEPS):
        step()
    if on_gpu:
        torch.cuda.synchronize()
    return (clock() - start) / STEPS


def dense_step(tokens: torch.Tensor, d_sae: int, k: int) -> object:
    """TopK as it is usually written: autograd through dense codes."""
    width = tokens.shape[1]
    W_enc = torch.randn(width, d_sae, device=tokens.device).mul_(0.1).requires_grad_()
    W_dec = W_enc.detach().T.clone().requires_grad_()
    b_enc, b_dec = (torch.zeros(n, device=tokens.device) for n in (d_sae, width))
    weights = [W_enc, W_dec, b_enc.requires_grad_(), b_dec.requires_grad_()]
    adam = torch.optim.Adam(weights)

    def step() -> None:
        pre = torch.relu((tokens - b_dec) @ W_enc + b_enc)
        top = pre.topk(k, dim=1)
        code = torch.zeros_like(pre).scatter(1, top.indices, top.values)
        loss = (code @ W_dec + b_dec - tokens).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="starter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=16, help="images a step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--kinds", default="topk,batchtopk,nested,jumprelu,relu,dense")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    width, expansion, k = SIZES[arguments.size]
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn((arguments.images, TOKENS, width), generator=random).to(device)
    flat = tokens.flatten(0, 1)
    print(f"{width} -> {expansion * width}, {len(flat)} tokens a step, {device}")
    for name in arguments.kinds.split(","):
        if name == "dense":
            step = dense_step(flat, expansion * width, k)
        else:
            recipe = {"kind": name, "expansion": expansion, "k": k, "images": 10**6}
            if name == "nested":
                recipe |= {"kind": "batchtopk", "nesting": (1 / 16, 1 / 4)}
            reference = name == "relu"
            make = TrainingConfig.reference if reference else TrainingConfig
            config = make(**recipe)
            trainer = Trainer(fresh_tensors(tokens, config), 0, config, device)

            def step(trainer: Trainer = trainer) -> None:
                trainer.update(trainer.gradients(flat))

        seconds = measured(step, device)
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated() / 2**30
            torch.cuda.reset_peak_memory_stats()
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name:10s} {seconds:8.3f} s a step {len(flat) / seconds:10.0f} tokens/s, "
            f"peak so far {peak:.1f} GiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
