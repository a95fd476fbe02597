"""The generators: their steps, cancelling, and a machine short of memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from napari_cytosae.core import encoded_cells, pipeline
from napari_cytosae.core.images import as_image
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.models import Models
from napari_cytosae.core.types import Crops, CytoError, Encoded, ImageError, Progress

NAMES = ("n_patches", "max", "mean", "mean_with_cls", "cls")


@pytest.fixture(scope="module")
def tiny(reference_dir):
    return load_models(
        reference_dir / "backbone_tiny_random.pth", reference_dir / "sae_tiny_random.pt"
    )


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 256, (60 + i, 60, 3), np.uint8) for i in range(7))
    boxes = np.arange(28).reshape(7, 4)
    return Crops(images, boxes, np.array([2, 3, 5, 7, 11, 13, 17]), 25.0, "metadata")


def drain(job):
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as finished:
            return steps, finished.value


def assert_same(a: Encoded, b: Encoded) -> None:
    np.testing.assert_array_equal(a.cell_ids, b.cell_ids)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_allclose(a.tokens, b.tokens, rtol=2e-3, atol=1e-3)
    for name in NAMES:
        dense = [getattr(e.activations, name).toarray() for e in (a, b)]
        np.testing.assert_allclose(*dense, rtol=1e-4, atol=1e-5)


def test_steps_and_result(tiny, crops):
    steps, result = drain(pipeline.encode(tiny, crops, batch_size=3))
    assert [(s.stage, s.done, s.total, s.unit) for s in steps] == [
        ("Encoding", 0, 7, "cells"),
        ("Encoding", 3, 7, "cells"),
        ("Encoding", 6, 7, "cells"),
        ("Encoding", 7, 7, "cells"),
    ]
    assert [len(s.partial) for s in steps[1:]] == [3, 3, 1]
    assert result.complete
    assert result.cell_ids.tolist() == [2, 3, 5, 7, 11, 13, 17]
    np.testing.assert_array_equal(result.boxes, crops.boxes)
    assert result.tokens.dtype == np.float16
    assert result.tokens.shape == (7, 257, 128)
    assert result.gates is None
    assert_same(result, drain(pipeline.encode(tiny, crops, batch_size=7))[1])


def test_a_cancelled_run_keeps_what_is_done(tiny, crops):
    job = pipeline.encode(tiny, crops, batch_size=2)
    partials = [step.partial for step in (next(job), next(job), next(job))][1:]
    job.close()
    kept = encoded_cells.concatenate(partials, complete=False)
    assert kept.cell_ids.tolist() == [2, 3, 5, 7]
    assert not kept.complete


def test_inference_mode_does_not_leak_out_of_a_step(tiny, crops):
    for _ in pipeline.encode(tiny, crops[:2], batch_size=1):
        assert not torch.is_inference_mode_enabled()
        assert torch.ones(1, requires_grad=True).mul(2).requires_grad


def test_default_batches_are_small_enough_to_cancel(tiny):
    assert tiny.batch_size <= (32 if tiny.device.type == "cuda" else 8)


def test_plain_arrays_get_their_own_boxes(tiny, crops):
    _, result = drain(pipeline.encode(tiny, list(crops[:2]), keep_tokens=False))
    assert result.cell_ids.tolist() == [1, 2]
    assert result.boxes.tolist() == [[0, 0, 60, 60], [0, 0, 61, 60]]
    assert result.tokens is None


def test_no_cells(tiny):
    nothing = Crops((), np.empty((0, 4), np.int64), np.empty(0, np.int64), None, "unknown")
    steps, result = drain(pipeline.encode(tiny, nothing))
    assert [(s.done, s.total) for s in steps] == [(0, 0)]
    assert len(result) == len(result.activations) == 0
    assert result.activations.max.shape == (0, 1024)
    assert tiny.concept_grids(result, [0]).shape == (1, 0, 16, 16)


def test_a_bad_crop_is_named(tiny, crops):
    with pytest.raises(ImageError, match="Crop 1 is float64"):
        drain(pipeline.encode(tiny, [crops[0], crops[1] / 255]))


@pytest.mark.parametrize(
    "options",
    [{"threshold": -0.1}, {"threshold": float("nan")}, {"batch_size": 0}],
)
def test_settings_that_make_no_sense(tiny, crops, options):
    with pytest.raises(CytoError, match="make no sense; use a threshold from 0 on"):
        drain(pipeline.encode(tiny, crops, **options))


# --- a machine short of memory --------------------------------------------------------

OUT_OF_MEMORY = (
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
)


def short_of_memory(monkeypatch, error: BaseException, room: int) -> list[int]:
    tried = []
    original = Models.encode_batch

    def encode_batch(self, crops, *args, **options):
        tried.append(len(crops))
        if len(crops) > room:
            raise error
        return original(self, crops, *args, **options)

    monkeypatch.setattr(Models, "encode_batch", encode_batch)
    return tried


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
def test_batches_that_do_not_fit_are_halved(tiny, crops, monkeypatch, error):
    whole = drain(pipeline.encode(tiny, crops))[1]
    tried = short_of_memory(monkeypatch, error, room=2)
    steps, result = drain(pipeline.encode(tiny, crops, batch_size=7))
    assert tried == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert steps[-1].done == 7
    assert_same(result, whole)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
def test_no_room_for_a_single_cell(tiny, crops, monkeypatch, error):
    short_of_memory(monkeypatch, error, room=0)
    with pytest.raises(CytoError, match="not enough memory to encode a single cell; close"):
        drain(pipeline.encode(tiny, crops, batch_size=4))


def test_other_runtime_errors_are_not_swallowed(tiny, crops, monkeypatch):
    short_of_memory(monkeypatch, RuntimeError("shapes cannot be multiplied"), room=0)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        drain(pipeline.encode(tiny, crops))


# --- from the image on ----------------------------------------------------------------


@pytest.fixture(scope="module")
def smear(data_dir):
    path = data_dir / "wbc_segmentation" / "dataset2" / "001.png"
    return as_image(np.asarray(Image.open(path).convert("RGB")), pixel_size=0.1)


def test_analyze_image(tiny, smear):
    steps, result = drain(pipeline.analyze_image(smear, tiny))
    assert [type(step) for step in steps] == [Progress] * len(steps)
    assert [steps[0].stage, steps[-1].stage] == ["Segmenting", "Encoding"]
    assert len(result.cells) == len(result.crops) == len(result.encoded) >= 1
    np.testing.assert_array_equal(result.encoded.cell_ids, result.cells.table["cell_id"])
    np.testing.assert_array_equal(result.encoded.boxes, result.crops.boxes)


def test_analyze_given_cells(tiny, smear):
    labels = np.zeros(smear.rgb.shape[:2], np.int32)
    labels[100:200, 100:200] = 42
    _, result = drain(pipeline.analyze_image(smear, tiny, labels=labels))
    assert result.encoded.cell_ids.tolist() == [42]


def test_analyze_a_single_cell(tiny, smear):
    _, result = drain(pipeline.analyze_image(smear, tiny, single_cell=True))
    assert result.cells.single_cell
    np.testing.assert_array_equal(result.crops[0], smear.rgb)
    got = result.encoded.activations.n_patches.toarray()
    np.testing.assert_array_equal(got, tiny.encode([smear.rgb]).n_patches.toarray())


def test_an_image_without_cells_is_a_result(tiny):
    blank = np.full((300, 300, 3), 240, np.uint8)
    labels = np.zeros((300, 300), np.int32)
    _, result = drain(pipeline.analyze_image(blank, tiny, 0.1, labels=labels))
    assert len(result.encoded) == 0
