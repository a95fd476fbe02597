"""Cells kept on disk: found again bit for bit, bounded, and never in the way."""

from __future__ import annotations

import os
from dataclasses import fields

import numpy as np
import pytest
import torch

from napari_cytosae.core import cache as cache_module
from napari_cytosae.core import checkpoints, pipeline
from napari_cytosae.core._products import _fusable
from napari_cytosae.core.cache import Cache, KeptCell, cell_key, open_cache
from napari_cytosae.core.encoded_cells import STATISTICS
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.models import Models
from napari_cytosae.core.types import Crops


@pytest.fixture(scope="module")
def tiny(reference_dir):
    return load_models(
        reference_dir / "backbone_tiny_random.pth",
        reference_dir / "sae_tiny_random.pt",
        precision="float32",
    )


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 256, (60 + i, 60, 3), np.uint8) for i in range(7))
    boxes = np.arange(28).reshape(7, 4)
    return Crops(images, boxes, np.array([2, 3, 5, 7, 11, 13, 17]), 25.0, "metadata")


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "encoded", 10**9)


@pytest.fixture
def encoded_cells(monkeypatch) -> list[int]:
    """Number of cells of each batch that went through the models."""
    batches = []
    original = Models.encode_batch

    def watched(self, crops, *args, **options):
        batches.append(len(crops))
        return original(self, crops, *args, **options)

    monkeypatch.setattr(Models, "encode_batch", watched)
    return batches


def encode(models, crops, cache=None, **options):
    return pipeline.run(pipeline.encode(models, crops, cache=cache, **options))


def assert_identical(a, b) -> None:
    for name in STATISTICS:
        one, other = getattr(a.activations, name), getattr(b.activations, name)
        for part in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
            assert getattr(one, part).dtype == getattr(other, part).dtype
    for part in ("tokens", "gates", "boxes", "cell_ids"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
    assert a.activations.threshold == b.activations.threshold
    assert a.activations.sae_sha256 == b.activations.sae_sha256


def changed(crops: Crops, index: int) -> Crops:
    images = list(crops.images)
    images[index] = images[index].copy()
    images[index][0, 0, 0] ^= 1
    parts = {part.name: getattr(crops, part.name) for part in fields(crops)}
    return Crops(**parts | {"images": tuple(images)})


# --- the same result ------------------------------------------------------------------


def test_a_second_time_nothing_is_encoded(tiny, crops, cache, encoded_cells):
    fresh = encode(tiny, crops)
    encoded_cells.clear()
    assert_identical(encode(tiny, crops, cache), fresh)
    assert encoded_cells == [4, 3]
    assert_identical(encode(tiny, crops, cache), fresh)
    assert_identical(encode(tiny, crops, Cache(cache.folder, cache.limit)), fresh)
    assert encoded_cells == [4, 3]


def test_one_changed_cell_is_encoded_alone(tiny, crops, cache, encoded_cells):
    encode(tiny, crops, cache)
    after = changed(crops, 4)
    fresh = encode(tiny, after)
    encoded_cells.clear()
    got = encode(tiny, after, cache)
    assert encoded_cells == [1]
    assert_same_numbers(got, fresh)


def assert_same_numbers(a, b) -> None:
    """Bit for bit where the products do not depend on the batch, else closely."""
    if _fusable(torch.float32):
        assert_identical(a, b)
        return
    np.testing.assert_allclose(a.tokens, b.tokens, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_batch_does_not_matter(precision, crops):
    """Else what is kept would depend on how it came to be."""
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    if not _fusable(dtype):
        pytest.skip("this torch or this CPU has no fused products")
    models = load_models(device="cpu", precision=precision)
    together = encode(models, crops, batch_size=7)
    for size in (1, 2, 3, 4):
        assert_identical(encode(models, crops, batch_size=size), together)


def test_kept_and_new_cells_keep_their_order(tiny, crops, cache, encoded_cells):
    every_second = Crops(
        crops.images[1::2], crops.boxes[1::2], crops.cell_ids[1::2], 25.0, "metadata"
    )
    encode(tiny, every_second, cache)
    encoded_cells.clear()
    got = encode(tiny, crops, cache, batch_size=3)
    # Batches are full although kept cells lie between.
    assert encoded_cells == [3, 1]
    assert got.cell_ids.tolist() == crops.cell_ids.tolist()
    assert_same_numbers(got, encode(tiny, crops))


def test_steps_while_cells_are_found(tiny, crops, cache):
    encode(tiny, crops, cache)
    steps = list(pipeline.encode(tiny, crops, cache=cache))
    assert [(step.done, step.total) for step in steps] == [(0, 7), (7, 7)]
    assert len(steps[1].partial) == 7


def test_competing_latents_keep_their_gates(reference_dir, tmp_path, crops, cache):
    tensors = checkpoints.open_sae(reference_dir / "sae_tiny_random.pt").tensors
    checkpoints.save_sae(tmp_path / "k.safetensors", tensors, kind="topk", k=8, layer=-2)
    models = load_models(
        reference_dir / "backbone_tiny_random.pth", tmp_path / "k.safetensors"
    )
    fresh = encode(models, crops, cache)
    again = encode(models, crops, cache)
    assert again.gates is not None
    assert_identical(again, fresh)
    np.testing.assert_array_equal(
        models.concept_grids(again, [3, 5]), models.concept_grids(fresh, [3, 5])
    )


# --- what another result follows from -------------------------------------------------


def test_threshold_precision_and_models_are_told_apart(
    tiny, reference_dir, crops, cache, encoded_cells
):
    encode(tiny, crops, cache)
    encoded_cells.clear()
    encode(tiny, crops, cache, threshold=0.3)
    assert sum(encoded_cells) == 7
    rounded = load_models(
        reference_dir / "backbone_tiny_random.pth",
        reference_dir / "sae_tiny_random.pt",
        precision="bfloat16",
    )
    encode(rounded, crops, cache)
    assert sum(encoded_cells) == 14
    assert rounded.made_by != tiny.made_by


def test_tokens_that_were_not_kept_are_made(tiny, crops, cache, encoded_cells):
    bare = encode(tiny, crops, cache, keep_tokens=False)
    assert bare.tokens is None
    encoded_cells.clear()
    assert encode(tiny, crops, cache, keep_tokens=False).tokens is None
    assert encoded_cells == []
    whole = encode(tiny, crops, cache)
    assert sum(encoded_cells) == 7
    assert whole.tokens is not None
    # Now there are more than are asked for, which are left out.
    assert encode(tiny, crops, cache, keep_tokens=False).tokens is None
    assert sum(encoded_cells) == 7


def test_keys():
    crop = np.zeros((4, 6, 3), np.uint8)
    keys = {
        cell_key("a", crop),
        cell_key("b", crop),
        cell_key("a", crop.reshape(6, 4, 3)),
        cell_key("a", crop + 1),
    }
    assert len(keys) == 4
    wide = np.zeros((4, 12, 3), np.uint8)
    assert cell_key("a", wide[:, ::2]) == cell_key("a", crop)


# --- the folder -----------------------------------------------------------------------


def cell(value: float = 1.0, kilobytes: int = 10) -> KeptCell:
    latents = np.arange(50 * kilobytes, dtype=np.int32)
    return KeptCell(latents, np.full((5, len(latents)), value, np.float32), None, None)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text"])
def test_a_damaged_file_is_no_file(cache, damage):
    cache.write("a", cell())
    path = next(cache.folder.iterdir())
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 1
    path.write_bytes(
        {"cut": data[:-200], "bit": data, "empty": b"", "text": b"hello"}[damage]
    )
    assert cache.read("a", tokens=False) is None
    assert not path.exists()
    cache.write("a", cell())
    assert cache.read("a", tokens=False) is not None


def test_a_file_with_an_object_is_not_unpickled(cache):
    cache.folder.mkdir()
    np.savez(cache.folder / "a.npz", latents=np.array([{}]), values=np.zeros((5, 1)))
    assert cache.read("a", tokens=False) is None


def test_the_oldest_go_when_it_is_full(tmp_path):
    cache = Cache(tmp_path, 100_000)
    for index, key in enumerate("abcdefg"):
        cache.write(key, cell())
        os.utime(tmp_path / f"{key}.npz", (index, index))
    assert cache.usage()[0] == 7
    assert cache.read("a", tokens=False) is not None
    for key in "hij":
        cache.write(key, cell())
    kept = {path.stem for path in tmp_path.iterdir()}
    assert cache.usage()[1] <= 100_000
    assert {"a", "h", "i", "j"} <= kept
    assert not {"b", "c"} & kept


def test_listed_and_cleared(cache):
    assert cache.usage() == (0, 0)
    cache.write("a", cell())
    cache.write("b", cell())
    count, size = cache.usage()
    assert count == 2
    assert size == sum(path.stat().st_size for path in cache.folder.iterdir())
    cache.clear()
    assert cache.usage() == (0, 0)


def test_a_folder_that_cannot_be_written(tiny, crops, tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "encoded", 10**9)
    assert_identical(encode(tiny, crops, cache), encode(tiny, crops))
    assert cache.trouble.startswith("Encoded cells are not kept for next time (")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_is_left_alone(cache, monkeypatch):
    cache.write("a", cell())
    monkeypatch.setattr(cache_module, "FREE_BYTES", 10**18)
    cache.write("b", cell())
    assert "free on the disk" in cache.trouble
    assert cache.usage()[0] == 1
    assert cache.read("a", tokens=False) is not None


def test_weights_without_a_hash_are_not_kept(tiny, crops, cache, monkeypatch):
    monkeypatch.setattr(Models, "made_by", property(lambda self: ""))
    encode(tiny, crops, cache)
    assert cache.usage() == (0, 0)


def test_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path))
    monkeypatch.delenv("CYTOSAE_CACHE_MB")
    cache = open_cache()
    assert (cache.folder, cache.limit) == (tmp_path / "encoded", 4 * 10**9)
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "1.5")
    assert open_cache().limit == 1_500_000
    for off in ("0", "-1", "much"):
        monkeypatch.setenv("CYTOSAE_CACHE_MB", off)
        assert open_cache() is None
