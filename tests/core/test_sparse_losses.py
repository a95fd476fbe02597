"""The losses of all kinds against the authors' code and against plain numpy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from napari_cytosae.core._losses import (
    Weights,
    jumprelu_loss,
    loss_of,
    relu_loss,
    topk_loss,
)
from napari_cytosae.core._sparse_code import keep_per_batch, keep_per_token, largest_per_row
from napari_cytosae.core._training_start import geometric_median
from napari_cytosae.core.checkpoints import open_sae
from napari_cytosae.core.training_config import TrainingConfig

Array = npt.NDArray[np.float64]
N, WIDTH, LATENTS = 30, 8, 48


def test_one_step_of_the_authors_code(reference_dir: Path) -> None:
    expected = np.load(reference_dir / "expected_training.npz")
    file = open_sae(reference_dir / "sae_tiny_random.pt")
    weights = Weights(**{k: v.clone().requires_grad_() for k, v in file.tensors.items()})
    tokens, dead = (torch.from_numpy(expected[name]) for name in ("tokens", "dead"))

    loss = relu_loss(weights, tokens, dead, l1=8e-5)
    loss.total.backward()

    assert loss.total.item() == pytest.approx(expected["loss"], rel=1e-6)
    assert loss.reconstruction.item() == pytest.approx(expected["mse_loss"], rel=1e-6)
    assert loss.sparsity.item() == pytest.approx(expected["l1_loss"], rel=1e-6)
    assert loss.auxiliary.item() == pytest.approx(expected["ghost_loss"], rel=1e-6)
    for name, parameter in weights.named().items():
        reference = torch.from_numpy(expected[f"grad_{name}"])
        assert parameter.grad is not None
        assert torch.linalg.norm(parameter.grad - reference) < 3e-5 * torch.linalg.norm(
            reference
        )


@pytest.fixture
def weights() -> Weights:
    random = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    decoder = draw(LATENTS, WIDTH)
    every = Weights(
        W_enc=decoder.T.clone() * 0.3 + 0.05 * draw(WIDTH, LATENTS),
        b_enc=0.1 * draw(LATENTS),
        W_dec=decoder / decoder.norm(dim=1, keepdim=True),
        b_dec=0.2 * draw(WIDTH),
        log_threshold=0.1 * draw(LATENTS) - 0.5,
    )
    for tensor in every.named().values():
        tensor.requires_grad_()
    return every


@pytest.fixture
def tokens() -> torch.Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randn((N, WIDTH), generator=random, dtype=torch.float64)


@pytest.fixture
def dead() -> torch.Tensor:
    return torch.arange(LATENTS) % 7 == 3


def plain_topk(w: dict[str, Array], x: Array, k: int, *, per_batch: bool) -> Array:
    """The code of topk and batchtopk, (n, d_sae)."""
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    if per_batch:
        cut = np.sort(pre, axis=None)[-k * len(x)]
    else:
        cut = np.sort(pre, axis=1)[:, -k][:, None]
    return np.where((pre >= cut) & (pre > 0), pre, 0)


def plain_nested_error(
    w: dict[str, Array], x: Array, code: Array, ends: list[int]
) -> tuple[float, Array]:
    outputs = [code[:, :end] @ w["W_dec"][:end] + w["b_dec"] for end in ends]
    return float(np.mean([((o - x) ** 2).mean() for o in outputs])), outputs[-1]


def plain_revival(
    w: dict[str, Array],
    x: Array,
    residual: Array,
    b_dec: Array,
    dead: npt.NDArray[np.bool_],
) -> float:
    """AuxK with k = width / 2; residual and decoder bias are constants to its gradient."""
    pre = (x - b_dec) @ w["W_enc"][:, dead] + w["b_enc"][dead]
    cut = np.sort(pre, axis=1)[:, -(WIDTH // 2)][:, None]
    guess = np.where((pre >= cut) & (pre > 0), pre, 0) @ w["W_dec"][dead]
    return float(((guess - residual) ** 2).sum() / (residual**2).sum()) / 32


def as_arrays(weights: Weights) -> dict[str, Array]:
    return {name: t.detach().numpy().copy() for name, t in weights.named().items()}


def numeric_gradient(value: object, arrays: dict[str, Array], name: str) -> Array:
    """Central differences in every entry of one array."""
    assert callable(value)
    gradient = np.zeros_like(arrays[name])
    for index in np.ndindex(gradient.shape):
        at = arrays[name][index]
        arrays[name][index] = at + 1e-6
        above = value(arrays)
        arrays[name][index] = at - 1e-6
        gradient[index] = (above - value(arrays)) / 2e-6
        arrays[name][index] = at
    return gradient


@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
@pytest.mark.parametrize("nesting", [(), (1 / 8, 1 / 2)])
def test_topk_loss_and_gradients_are_those_of_plain_numpy(
    weights: Weights,
    tokens: torch.Tensor,
    dead: torch.Tensor,
    kind: str,
    nesting: tuple[float, ...],
) -> None:
    config = TrainingConfig(kind=kind, k=5, nesting=nesting)  # type: ignore[arg-type]
    start = as_arrays(weights)
    x = tokens.numpy()
    ends = [round(share * LATENTS) for share in (*nesting, 1)]
    code = plain_topk(start, x, 5, per_batch=kind == "batchtopk")
    error, output = plain_nested_error(start, x, code, ends)

    def value(w: dict[str, Array]) -> float:
        code = plain_topk(w, x, 5, per_batch=kind == "batchtopk")
        revival = plain_revival(w, x, x - output, start["b_dec"], dead.numpy())
        return plain_nested_error(w, x, code, ends)[0] + revival

    loss = loss_of(weights, tokens, dead, config)
    loss.total.backward()

    assert loss.reconstruction.item() == pytest.approx(error, rel=1e-10)
    assert loss.total.item() == pytest.approx(value(start), rel=1e-10)
    assert loss.auxiliary.item() > 0.01
    assert loss.active.item() == (code > 0).sum() / N
    np.testing.assert_allclose(loss.output.numpy(), output, rtol=1e-10)
    np.testing.assert_array_equal(loss.fired.numpy(), (code > 0).any(0))
    if kind == "batchtopk":
        assert loss.threshold is not None
        assert loss.threshold.item() == code[code > 0].min()
    for name in ("b_enc", "b_dec", "W_enc", "W_dec"):
        expected = numeric_gradient(value, as_arrays(weights), name)
        found = getattr(weights, name).grad.numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("nesting", [(), (1 / 8, 1 / 2)])
def test_jumprelu_loss_and_gradients_are_those_of_plain_numpy(
    weights: Weights, tokens: torch.Tensor, dead: torch.Tensor, nesting: tuple[float, ...]
) -> None:
    config = TrainingConfig(
        kind="jumprelu", k=5, nesting=nesting, bandwidth=0.3, sparsity=0.2
    )
    w, x = as_arrays(weights), tokens.numpy()
    ends = [round(share * LATENTS) for share in (*nesting, 1)]
    theta = np.exp(w["log_threshold"])
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    code = np.where(pre > theta, pre, 0)
    error, output = plain_nested_error(w, x, code, ends)
    l0 = (pre > theta).sum() / N
    sparsity = 0.5 * 0.2 * (l0 / 5 - 1) ** 2

    loss = jumprelu_loss(weights, tokens, dead, config, warmth=0.5)
    loss.total.backward()

    assert loss.active.item() == l0
    assert loss.reconstruction.item() == pytest.approx(error, rel=1e-10)
    assert loss.sparsity.item() == pytest.approx(sparsity, rel=1e-10)
    np.testing.assert_allclose(loss.output.numpy(), output, rtol=1e-10)

    # Rajamanoharan et al. 2024, eq. 11 and 12, each entry by itself.
    by_code = np.zeros_like(code)
    for end in ends:
        miss = code[:, :end] @ w["W_dec"][:end] + w["b_dec"] - x
        by_code[:, :end] += 2 * miss @ w["W_dec"][:end].T / (miss.size * len(ends))
    by_l0 = 0.5 * 0.2 * 2 * (l0 / 5 - 1) / 5
    expected = np.zeros(LATENTS)
    for t in range(N):
        for j in range(LATENTS):
            if abs(pre[t, j] - theta[j]) < 0.15:
                expected[j] -= theta[j] / 0.3 * by_code[t, j] + by_l0 / N / 0.3
    assert weights.log_threshold is not None
    assert weights.log_threshold.grad is not None
    np.testing.assert_allclose(
        weights.log_threshold.grad.numpy(), expected * theta, rtol=1e-9
    )

    def value(v: dict[str, Array]) -> float:
        """With the gates as they are, all else is smooth."""
        pre = (x - v["b_dec"]) @ v["W_enc"] + v["b_enc"]
        revival = plain_revival(v, x, x - output, w["b_dec"], dead.numpy())
        return plain_nested_error(v, x, pre * (code > 0), ends)[0] + revival

    for name in ("b_enc", "b_dec", "W_enc", "W_dec"):
        gradient = numeric_gradient(value, as_arrays(weights), name)
        found = getattr(weights, name).grad.numpy()
        np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-8, err_msg=name)


def test_no_dead_latents_no_auxiliary_term(weights: Weights, tokens: torch.Tensor) -> None:
    none = torch.zeros(LATENTS, dtype=torch.bool)
    for config in (TrainingConfig(), TrainingConfig.reference()):
        assert loss_of(weights, tokens, none, config).auxiliary.item() == 0


@pytest.mark.parametrize("k", [1, 5, 11, 12, 40, 96])
def test_the_largest_of_a_row_are_those_of_torch(k: int) -> None:
    values = torch.randn((50, 96), generator=torch.Generator().manual_seed(k))
    found, columns = largest_per_row(values, k)
    assert torch.equal(found.sort(1).values, values.topk(k).values.sort(1).values)
    assert torch.equal(values.gather(1, columns), found)


def test_one_token_may_take_most_of_a_batch() -> None:
    """Beyond the candidates looked at first: the whole row is then searched."""
    pre = torch.rand((30, 256), generator=torch.Generator().manual_seed(0))
    pre[7] += 1
    pre[20, :100] += 1
    code = keep_per_batch(pre, 4)
    kept = torch.zeros_like(pre)
    kept[code.tokens, code.latents] = code.values
    cut = pre.flatten().sort().values[-120]
    assert torch.equal(kept, torch.where(pre >= cut, pre, 0))
    assert torch.equal(code.tokens, code.tokens.sort().values)


def test_only_positive_entries_are_kept() -> None:
    pre = torch.tensor([[-1.0, -2.0, 3.0], [-1.0, -3.0, -2.0]])
    for keep in (keep_per_token, keep_per_batch):
        code = keep(pre, 2)
        assert code.tokens.tolist() == [0]
        assert code.latents.tolist() == [2]


def test_a_token_without_any_latent_is_the_decoder_bias(
    weights: Weights, tokens: torch.Tensor, dead: torch.Tensor
) -> None:
    silent = replace(weights, b_enc=weights.b_enc.detach() - 100)
    loss = topk_loss(silent, tokens, dead, TrainingConfig(kind="topk", k=3))
    assert torch.equal(loss.output, weights.b_dec.detach().expand(N, WIDTH))
    loss.total.backward()
    assert weights.W_enc.grad is not None
    assert not weights.W_enc.grad.any()


def test_geometric_median_withstands_an_outlier() -> None:
    points = np.random.default_rng(0).normal(size=(21, 4, 3))
    points[0] += 1e4
    median = geometric_median(torch.from_numpy(points)).numpy()

    def distances(at: Array) -> float:
        return float(np.sqrt(((points - at) ** 2).sum((1, 2))).sum())

    assert np.abs(median).max() < 1
    for step in np.random.default_rng(1).normal(size=(50, 4, 3)):
        assert distances(median) < distances(median + 0.01 * step)
