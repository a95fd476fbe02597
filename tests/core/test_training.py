"""Training from start to file: it learns, resumes to the bit, and fails in plain words."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from napari_cytosae.core._token_stream import Position, TokenStream
from napari_cytosae.core._trainer import Trainer
from napari_cytosae.core._training_start import fresh_tensors
from napari_cytosae.core.backbone import Backbone, build_backbone, preprocess
from napari_cytosae.core.checkpoints import inspect, open_backbone, open_sae
from napari_cytosae.core.evaluation import blocks_after, evaluate_sae
from napari_cytosae.core.sae import Sae
from napari_cytosae.core.training import train_sae
from napari_cytosae.core.training_config import (
    TrainingConfig,
    TrainingError,
    TrainingMetrics,
)
from napari_cytosae.core.types import OutputError, SaeInfo

WIDTH, CONCEPTS, PER_TOKEN = 16, 32, 3
SMALL = TrainingConfig(
    expansion=4,
    images=2_000,
    batch_images=8,
    buffer_images=64,
    k=PER_TOKEN,
    checkpoint_steps=20,
    holdout_images=20,
    warmup_steps=20,
    learning_rate=3e-3,
)


def planted_tokens(images: int = 200, seed: int = 0) -> npt.NDArray[np.float32]:
    """Tokens (images, 33, WIDTH) made of a few known directions each, off the origin."""
    random = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(CONCEPTS, WIDTH))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    chosen = random.integers(CONCEPTS, size=(images, 33, PER_TOKEN))
    size = random.uniform(2, 4, chosen.shape)
    tokens = np.einsum("itk,itkd->itd", size, directions[chosen])
    return (tokens + 5 + 0.05 * random.normal(size=tokens.shape)).astype(np.float32)


class Counted(Sequence[Any]):
    """Planted tokens, and how many images were asked for."""

    def __init__(self) -> None:
        self.tokens, self.served = planted_tokens(), 0

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: Any) -> Any:
        self.served += 1
        return self.tokens[index]


def run(
    source: Any, config: TrainingConfig, out: Path, **more: Any
) -> list[TrainingMetrics]:
    """Train to the end; the metrics of all steps."""
    return [p.partial for p in train_sae(source, config, out=out, **more) if p.partial]


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu"])
@pytest.mark.parametrize("nesting", [(), (0.25,)])
def test_sparse_kinds_find_what_was_planted(
    tmp_path: Path, kind: Any, nesting: tuple[float, ...]
) -> None:
    config = replace(SMALL, kind=kind, nesting=nesting)
    metrics = run(planted_tokens(), config, tmp_path / "sae.safetensors")
    file = open_sae(tmp_path / "sae.safetensors")
    assert (file.info.kind, file.info.d_in, file.info.d_sae) == (kind, WIDTH, 4 * WIDTH)
    # As it is used: the threshold of batchtopk and jumprelu in force, on unseen images.
    found = evaluate_sae(Sae(file), torch.from_numpy(planted_tokens(50, seed=7)))
    assert found.explained_variance > (0.75 if nesting else 0.8)
    assert PER_TOKEN * 0.7 < found.l0 < PER_TOKEN * 1.4
    assert metrics[-1].explained_variance == pytest.approx(
        found.explained_variance, abs=0.06
    )
    assert metrics[-1].loss < metrics[0].loss


def test_reference_recipe_trains_sparse_unit_decoder(tmp_path: Path) -> None:
    config = TrainingConfig.reference(
        expansion=4, images=64 * 300, learning_rate=3e-3, l1=2e-3, warmup_steps=50
    )
    metrics = run(planted_tokens(), config, tmp_path / "sae.safetensors")
    file = open_sae(tmp_path / "sae.safetensors")
    assert metrics[-1].explained_variance > 0.8
    assert metrics[-1].l0 < metrics[5].l0
    rows = file.tensors["W_dec"].norm(dim=1)
    assert torch.all((rows - 1).abs() < 1e-2)


def test_reference_recipe_has_the_published_numbers() -> None:
    config = TrainingConfig.reference()
    assert config.steps == 15_625
    assert config.rate_at(0) == pytest.approx(4e-4 / 500)
    assert config.rate_at(499) == config.rate_at(15_624) == 4e-4
    assert (config.expansion, config.batch_images, config.l1) == (64, 64, 8e-5)
    assert config.dead_after_steps == 64


@pytest.mark.parametrize("kind", ["relu", "topk", "batchtopk", "jumprelu"])
def test_resumed_training_has_the_same_weights_to_the_bit(
    tmp_path: Path, kind: Any
) -> None:
    source = planted_tokens()
    config = replace(SMALL, kind=kind, images=400, batch_images=8, dead_after_steps=5)
    run(source, config, tmp_path / "whole.safetensors")

    out = tmp_path / "parts.safetensors"
    # In the middle of a block, then at its end.
    for steps in (13, 11):
        training = train_sae(source, config, out=out, resume=True)
        for _ in range(1 + steps):
            next(training)
        training.close()
        assert not out.exists()
    resumed = run(source, config, out, resume=True)

    assert resumed[0].step == 25
    whole = load_file(tmp_path / "whole.safetensors")
    parts = load_file(out)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "parts.safetensors",
        "whole.safetensors",
    ]


KILLED = """
import sys
import weakref
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import SMALL, planted_tokens, replace, train_sae
config = replace(SMALL, images=800, kind={kind!r})
for progress in train_sae(planted_tokens(), config, out=Path({out!r}), resume=True):
    if progress.partial:
        print(progress.partial.step, flush=True)
"""


@pytest.mark.parametrize("kind", ["relu", "topk", "batchtopk", "jumprelu"])
def test_a_killed_training_goes_on_from_its_checkpoint(tmp_path: Path, kind: Any) -> None:
    out = tmp_path / "killed.safetensors"
    script = KILLED.format(tests=str(Path(__file__).parent), out=str(out), kind=kind)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 30:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    process.wait()

    config = replace(SMALL, images=800, kind=kind)
    resumed = run(planted_tokens(), config, out, resume=True)
    run(planted_tokens(), config, tmp_path / "whole.safetensors")

    assert resumed[0].step > 20
    assert resumed[0].step % SMALL.checkpoint_steps == 1
    whole, parts = load_file(tmp_path / "whole.safetensors"), load_file(out)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_guide_bends_one_latent_to_its_purpose_and_survives_a_kill(
    tmp_path: Path,
) -> None:
    """The first latent is asked to fire on tokens whose first entry is high."""
    tokens = planted_tokens()
    flat = torch.from_numpy(tokens).flatten(0, 1)
    wanted = flat[:, 0] > flat[:, 0].median()

    def guide(encode: Any, step: int) -> torch.Tensor:
        chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(step))
        activations, margins = encode(flat[chosen[:256]])
        assert torch.equal(activations > 0, (margins > 0) & (activations != 0))
        logits, target = margins[:, 0], wanted[chosen[:256]].float()
        return 5 * torch.nn.functional.binary_cross_entropy_with_logits(logits, target)

    plain, guided = tmp_path / "plain.safetensors", tmp_path / "guided.safetensors"
    run(tokens, SMALL, plain)
    metrics = run(tokens, SMALL, guided, guide=guide)
    assert metrics[-1].explained_variance > 0.8
    assert 0 < metrics[-1].auxiliary < metrics[0].auxiliary
    agreement = [
        ((Sae(open_sae(file)).encode(flat)[:, 0] > 0) == wanted).float().mean()
        for file in (plain, guided)
    ]
    assert agreement[1] > 0.75 > 0.65 > agreement[0]

    parts = tmp_path / "parts.safetensors"
    training = train_sae(tokens, SMALL, out=parts, guide=guide)
    for _ in range(34):
        next(training)
    training.close()
    run(tokens, SMALL, parts, guide=guide, resume=True)
    whole, resumed = load_file(guided), load_file(parts)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)

    topk = train_sae(tokens, replace(SMALL, kind="topk"), out=plain, guide=guide)
    with pytest.raises(TrainingError, match="no threshold"):
        next(topk)


def test_the_decoder_is_not_pulled_along_its_own_directions() -> None:
    head = torch.from_numpy(planted_tokens(64))
    trainer = Trainer(fresh_tensors(head, SMALL), 0, SMALL, torch.device("cpu"))
    trainer.gradients(torch.from_numpy(planted_tokens(8, seed=1)).flatten(0, 1))
    rows, gradient = trainer.weights.W_dec.detach(), trainer.weights.W_dec.grad
    assert gradient is not None
    assert gradient.norm() > 1e-3
    assert (rows * gradient).sum(1).abs().max() < 1e-5 * gradient.norm()


def test_an_iterator_is_resumed_by_beginning_anew(tmp_path: Path) -> None:
    tokens = planted_tokens()

    def batches() -> Iterator[npt.NDArray[np.float32]]:
        yield from np.array_split(tokens, 17)

    config = replace(SMALL, images=160, checkpoint_steps=3)
    run(batches(), config, tmp_path / "whole.safetensors")
    out = tmp_path / "parts.safetensors"
    training = train_sae(batches(), config, out=out)
    for _ in range(13):
        next(training)
    training.close()
    run(batches(), config, out, resume=True)
    whole, parts = load_file(tmp_path / "whole.safetensors"), load_file(out)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_an_iterator_that_ends_early_ends_the_training(tmp_path: Path) -> None:
    config = replace(SMALL, images=4_000, holdout_images=0)
    metrics = run(iter([planted_tokens(80)]), config, tmp_path / "sae.safetensors")
    assert metrics[-1].step == 10
    assert inspect(tmp_path / "sae.safetensors").training_data.startswith("(80 images")


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    out = tmp_path / "sae.safetensors"
    config = replace(SMALL, images=80)
    run(planted_tokens(), config, out)
    before = hashlib.sha256(out.read_bytes()).hexdigest()
    assert run(planted_tokens(), config, out, resume=True) == []
    assert hashlib.sha256(out.read_bytes()).hexdigest() == before


def test_a_finished_training_is_not_taken_for_another(tmp_path: Path) -> None:
    out = tmp_path / "sae.safetensors"
    run(planted_tokens(), replace(SMALL, images=80), out)
    with pytest.raises(TrainingError, match="is finished, with other settings"):
        run(planted_tokens(), replace(SMALL, images=80, expansion=3), out, resume=True)
    with pytest.raises(TrainingError, match="block -2"):
        run(planted_tokens(), replace(SMALL, images=80), out, resume=True, layer=-1)


def test_more_active_latents_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    out = tmp_path / "sae.safetensors"
    config = replace(SMALL, kind="topk", expansion=1, k=500, images=80)
    run(planted_tokens(), config, out)
    info = inspect(out)
    assert isinstance(info, SaeInfo)
    assert info.k == info.d_sae
    assert run(planted_tokens(), config, out, resume=True) == []


def test_an_interrupted_training_is_not_thrown_away(tmp_path: Path) -> None:
    out = tmp_path / "sae.safetensors"
    training = train_sae(planted_tokens(), SMALL, out=out)
    for _ in range(3):
        next(training)
    training.close()
    with pytest.raises(TrainingError, match="an interrupted training of sae"):
        run(planted_tokens(), SMALL, out)
    other = [str(tmp_path / "a.png")]
    for change, says in (
        ({"layer": -1}, "layer -2, not -1"),
        ({"source": other}, "images"),
    ):
        source = change.pop("source", planted_tokens())
        with pytest.raises(TrainingError, match=says):
            run(source, SMALL, out, resume=True, **change)
    assert load_file(tmp_path / "sae.training.safetensors")


def test_where_nothing_can_be_written_no_step_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "sae.safetensors", tmp_path):
        training = train_sae(planted_tokens(), SMALL, out=out)
        with pytest.raises(OutputError):
            next(training)


def test_slow_steps_are_kept_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cytosae.core.training._CHECKPOINT_SECONDS", 0)
    training = train_sae(
        planted_tokens(),
        replace(SMALL, checkpoint_steps=1000),
        out=tmp_path / "s.safetensors",
    )
    for _ in range(3):
        next(training)
    assert load_file(tmp_path / "s.training.safetensors")
    training.close()


def test_what_cannot_be_saved_at_the_end_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OutputError("The disk is full.")

    out, config = tmp_path / "sae.safetensors", replace(SMALL, images=80)
    with monkeypatch.context() as patched:
        patched.setattr("napari_cytosae.core.training.save_sae", full)
        with pytest.raises(OutputError, match="disk is full"):
            run(planted_tokens(), config, out)
    assert not out.exists()
    assert run(planted_tokens(), config, out, resume=True) == []
    run(planted_tokens(), config, tmp_path / "whole.safetensors")
    whole, parts = load_file(tmp_path / "whole.safetensors"), load_file(out)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_no_block_is_made_that_nobody_trains_on(tmp_path: Path) -> None:
    source = Counted()
    config = replace(SMALL, images=32, batch_images=8, buffer_images=32, holdout_images=0)
    run(source, config, tmp_path / "sae.safetensors")
    # One block, and the few that the training is followed on.
    assert source.served == 32 + 8


def test_another_recipe_is_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "sae.safetensors"
    training = train_sae(planted_tokens(), SMALL, out=out)
    for _ in range(3):
        next(training)
    training.close()
    with pytest.raises(TrainingError, match="has k 3, not 5; resume with the same"):
        run(planted_tokens(), replace(SMALL, k=5), out, resume=True)
    damaged = tmp_path / "sae.training.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="does not hold an interrupted training"):
        run(planted_tokens(), SMALL, out, resume=True)


def test_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    class Poisoned(Counted):
        """One image has an infinite token; it comes up after the first checkpoint."""

        def __getitem__(self, index: Any) -> Any:
            item = super().__getitem__(index).copy()
            if self.served > 300:
                item[0, 0] = np.inf
            return item

    out = tmp_path / "sae.safetensors"
    with pytest.raises(TrainingError) as raised:
        run(Poisoned(), SMALL, out)
    assert "NaN or infinite at step 33" in str(raised.value)
    assert "checkpoint of step 20 is kept in" in str(raised.value)
    assert not out.exists()
    # With the cause removed it goes on from there.
    resumed = train_sae(planted_tokens(), SMALL, out=out, resume=True)
    assert next(resumed).done == 0
    assert next(resumed).partial.step == 21
    resumed.close()


@pytest.fixture(scope="module")
def backbone(reference_dir: Path) -> Backbone:
    return build_backbone(open_backbone(reference_dir / "backbone_tiny_random.pth"), -2)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = []
    for index in range(12):
        pixels = random.integers(256, size=(8, 8, 3), dtype=np.uint8)
        paths.append(tmp_path / f"cell {index}.png")
        Image.fromarray(pixels).resize((40, 40)).save(paths[-1])
    return paths


def test_images_are_streamed_and_broken_ones_listed(
    tmp_path: Path, images: list[Path], backbone: Backbone, reference_dir: Path
) -> None:
    images[3].write_bytes(b"\x89PNG\r\n\x1a\n not really")
    images[8] = tmp_path / "missing.png"
    config = TrainingConfig(
        expansion=1, images=24, batch_images=2, buffer_images=4, k=4, metric_steps=4
    )
    out = tmp_path / "sae.safetensors"
    file = open_backbone(reference_dir / "backbone_tiny_random.pth")
    metrics = run(images, config, out, backbone=backbone, after=blocks_after(file, -2))
    assert sorted(metrics[-1].skipped) == sorted(map(str, (images[3], images[8])))
    assert len(metrics) == 12
    assert metrics[2].loss_recovered is None
    assert metrics[-1].loss_recovered is not None
    assert metrics[-1].loss_recovered < 1
    info = inspect(out)
    assert isinstance(info, SaeInfo)
    assert (info.layer, info.backbone) == (-2, backbone.info.name)
    assert "loss recovered" in info.training_data


def test_crops_and_paths_give_the_backbones_own_tokens(
    images: list[Path], backbone: Backbone
) -> None:
    crops = [np.asarray(Image.open(path)) for path in images]
    expected = backbone(preprocess(crops))
    config = TrainingConfig(batch_images=12, buffer_images=12)
    for source in (images, crops):
        stream = TokenStream(source, backbone, torch.device("cpu"), config)
        tokens, after = next(stream.batches(Position()))
        assert after == Position(1, 0)
        # Shuffled, so compared as sets of rows.
        assert tokens.shape == (12 * 257, 128)
        by_first = tokens[tokens[:, 0].argsort()]
        flat = expected.flatten(0, 1)
        torch.testing.assert_close(by_first, flat[flat[:, 0].argsort()])


def test_every_image_once_an_epoch_and_held_out_ones_never() -> None:
    tokens = np.arange(50, dtype=np.float32)[:, None, None] + np.zeros(
        (1, 3, 2), np.float32
    )
    config = TrainingConfig(batch_images=5, buffer_images=10, holdout_images=10)
    stream = TokenStream(tokens, None, torch.device("cpu"), config)
    assert stream.held_out is not None
    held_out = set(stream.held_out[:, 0, 0].tolist())
    assert len(held_out) == 10
    seen = []
    for batch, position in stream.batches(Position()):
        seen.append(batch[:, 0])
        if position.block == 8:
            break
    first, second = torch.cat(seen).split(40 * 3)
    for epoch in (first, second):
        assert sorted(epoch.tolist()) == sorted(3 * [*set(range(50)).difference(held_out)])
    assert first.tolist() != second.tolist()


def test_one_block_of_tokens_is_in_memory() -> None:
    class Counting(Sequence[Any]):
        alive = most = 0

        def __len__(self) -> int:
            return 1000

        def __getitem__(self, index: Any) -> Any:
            item = np.full((3, 2), index, np.float32)
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(item, self._forget)
            return item

        def _forget(self) -> None:
            self.alive -= 1

    config = TrainingConfig(batch_images=4, buffer_images=100)
    source = Counting()
    stream = TokenStream(source, None, torch.device("cpu"), config)
    for batch, position in stream.batches(Position()):
        assert batch.shape == (12, 2)
        assert stream.newest.shape == (100, 3, 2)
        if position.block == 3:
            break
    # Images are let go as soon as a few of them are encoded.
    assert source.most < 40


def test_chunks_change_nothing_but_rounding(tmp_path: Path) -> None:
    tokens = planted_tokens()
    tokens = np.tile(tokens, (1, 40, 1))
    config = replace(SMALL, kind="topk", images=64, batch_images=16, chunk_mb=1)
    run(tokens, config, tmp_path / "chunks.safetensors")
    run(tokens, replace(config, chunk_mb=1024), tmp_path / "whole.safetensors")
    chunks = load_file(tmp_path / "chunks.safetensors")
    whole = load_file(tmp_path / "whole.safetensors")
    for name in whole:
        torch.testing.assert_close(chunks[name], whole[name], rtol=1e-3, atol=1e-5)


def test_mixed_precision_trains(tmp_path: Path) -> None:
    for kind in ("topk", "jumprelu", "relu"):
        config = replace(SMALL, kind=kind, precision="bfloat16", images=400)  # type: ignore[arg-type]
        metrics = run(planted_tokens(), config, tmp_path / f"{kind}.safetensors")
        assert metrics[-1].explained_variance > metrics[0].explained_variance


def test_progress_counts_images_and_tells_what_is_left(tmp_path: Path) -> None:
    config = replace(SMALL, images=80)
    steps = list(train_sae(planted_tokens(), config, out=tmp_path / "sae.safetensors"))
    assert [s.done for s in steps] == list(range(0, 81, 8))
    assert {s.total for s in steps} == {80}
    assert steps[1].partial.seconds_left > 0
    assert steps[-1].partial.seconds_left == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 0}, "images is 0; give 1 or more"),
        ({"learning_rate": 0.0}, "learning rate is 0.0; give a positive number"),
        ({"nesting": (0.5, 0.25)}, "increasing shares between 0 and 1"),
        ({"nesting": (0.5,), "kind": "relu"}, "no nesting"),
        ({"decay": 2.0}, "a share from 0 to 1"),
    ],
)
def test_recipes_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainingConfig(**changes)


def test_sources_that_make_no_sense(tmp_path: Path, images: list[Path]) -> None:
    out = tmp_path / "sae.safetensors"
    with pytest.raises(TrainingError, match="no images to train on"):
        run([], SMALL, out)
    with pytest.raises(TrainingError, match="no tokens"):
        run(iter([]), SMALL, out)
    with pytest.raises(TrainingError, match="give a backbone"):
        run(images, replace(SMALL, holdout_images=0), out)
    with pytest.raises(TrainingError, match="12 images and 20 are to be held out"):
        run(images, SMALL, out)
    with pytest.raises(TrainingError, match=r"int64 of shape \(3, 2\); give image paths"):
        run(np.zeros((50, 3, 2), np.int64), SMALL, out)
    for image in images:
        image.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="None of the 12 images can be read"):
        run(images, replace(SMALL, holdout_images=0), out)
    assert not out.exists()
