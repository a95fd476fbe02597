"""When bfloat16 may stand in for float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from napari_cytosae.core import precision
from napari_cytosae.core.types import ConceptActivations


@pytest.fixture
def exact():
    rng = np.random.default_rng(0)
    counts = csr_array(rng.integers(0, 40, (3, 50)).astype(np.float32))
    means = csr_array(rng.random((3, 50)).astype(np.float32))
    return ConceptActivations(counts, means, means, means, means)


def with_counts(a: ConceptActivations, cells, latents, by) -> ConceptActivations:
    counts = a.n_patches.toarray()
    counts[cells, latents] += by
    return replace(a, n_patches=csr_array(counts))


def test_counts_may_be_off_by_one_in_a_hundred(exact):
    allowed = exact.n_patches.sum() / 100
    assert precision.agree(exact, exact)
    assert precision.agree(with_counts(exact, 0, 3, np.floor(allowed)), exact)
    assert not precision.agree(with_counts(exact, 0, 3, np.ceil(allowed)), exact)


def test_errors_of_two_latents_do_not_cancel_but_those_of_cells_do(exact):
    off = np.ceil(exact.n_patches.sum() / 150)
    assert not precision.agree(with_counts(exact, 0, [3, 4], [off, -off]), exact)
    moved = with_counts(with_counts(exact, 0, 3, off), 1, 3, -off)
    assert precision.agree(moved, exact)


def test_the_strongest_concepts_must_stay(exact):
    means = exact.mean.toarray()
    top = np.argsort(-means[0])
    means[0, top[[9, 10]]] = means[0, top[[10, 9]]]
    one_swapped = replace(exact, mean=csr_array(means))
    assert precision.agree(one_swapped, exact)
    means[1, np.argsort(-means[1])[:4]] = 0
    assert not precision.agree(replace(exact, mean=csr_array(means)), exact)


def test_models_that_stay_silent_prove_nothing(exact):
    silent = replace(exact, n_patches=csr_array((3, 50), dtype=np.float32))
    assert not precision.agree(silent, silent)


def test_the_machine_is_timed(monkeypatch):
    speed = {torch.float32: 2.0, torch.bfloat16: 1.0}
    monkeypatch.setattr(precision, "_seconds", lambda matrix: speed[matrix.dtype])
    assert precision.faster_in_bfloat16(torch.device("cpu"))
    speed[torch.bfloat16] = 1.9
    assert not precision.faster_in_bfloat16(torch.device("cpu"))


def test_probes_are_the_same_each_time():
    first, second = precision.probes(), precision.probes()
    for a, b in zip(first, second, strict=True):
        assert a.dtype == np.uint8
        assert a.shape == (224, 224, 3)
        np.testing.assert_array_equal(a, b)


def test_a_choice_is_remembered(tmp_path):
    here = precision.measured_on(torch.device("cpu"), "a", "b")
    assert here == precision.measured_on(torch.device("cpu"), "a", "b")
    assert here != precision.measured_on(torch.device("cpu"), "a", "c")
    assert precision.recall(here, tmp_path) is None
    precision.remember(here, "bfloat16", tmp_path)
    precision.remember("elsewhere", "float32", tmp_path)
    assert precision.recall(here, tmp_path) == "bfloat16"
    assert precision.recall("elsewhere", tmp_path) == "float32"


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"here": "float8"}'])
def test_a_damaged_memory_is_none(tmp_path, text):
    (tmp_path / "precision.json").write_text(text)
    assert precision.recall("here", tmp_path) is None
    precision.remember("here", "float32", tmp_path)
    assert precision.recall("here", tmp_path) == "float32"


def test_no_folder_keeps_nothing(tmp_path):
    precision.remember("here", "float32", None)
    assert precision.recall("here", None) is None
    (tmp_path / "file").touch()
    precision.remember("here", "float32", tmp_path / "file" / "in")
