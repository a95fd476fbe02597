"""Statistics over images: the authors' numbers, the published files, interruptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from scipy.sparse import csr_array

from napari_cytosae.core import catalogue
from napari_cytosae.core._statistics import Statistics, label_entropy
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.types import CytoError

PUBLISHED = "cytosae_published/feature_data/sae_8jsxk3co/custom"


@pytest.fixture(scope="module")
def tiny_models(reference_dir):
    return load_models(
        backbone=str(reference_dir / "backbone_tiny_random.pth"),
        sae=str(reference_dir / "sae_tiny_random.pt"),
        device="cpu",
        precision="float32",
    )


@pytest.fixture(scope="module")
def reference_images(data_dir) -> list[Path]:
    numbers = ("001", "003", "005", "007", "008", "010", "011")
    masks = data_dir / "wbc_segmentation" / "dataset2"
    first = data_dir / "cytosae_published" / "19-6574.PAP.PB~E.1-1232.TIF"
    return [first, *(masks / f"{number}.png" for number in numbers)]


def drain(job):
    while True:
        try:
            next(job)
        except StopIteration as finished:
            return finished.value


def test_build_agrees_with_the_authors_code(
    tiny_models, reference_images, reference_dir, tmp_path
):
    labelled = [(path, "a" if i < 3 else "b") for i, path in enumerate(reference_images)]
    folder = drain(catalogue.build(tiny_models, labelled, tmp_path, top=5, batch_size=3))
    built = catalogue.load(folder)
    with np.load(reference_dir / "expected.npz") as expected:
        values = expected["feature_max_activating_image_values"]
        np.testing.assert_allclose(built.values, values, rtol=1e-5, atol=1e-7)
        indices = expected["feature_max_activating_image_indices"]
        np.testing.assert_array_equal(built.indices[values > 0], indices[values > 0])
        np.testing.assert_allclose(
            built.mean_acts,
            expected["feature_mean_acts"],
            rtol=1e-5,
            atol=1e-7,
            equal_nan=True,
        )
        np.testing.assert_allclose(built.sparsity, expected["feature_sparsity"], atol=1e-6)
    assert built.sae_sha256 == tiny_models.sae_info.sha256
    assert built.classnames == ("a", "b")
    assert built.images == tuple(map(str, reference_images))


def test_the_layout_is_the_published_one(tiny_models, reference_images, data_dir, tmp_path):
    drain(catalogue.build(tiny_models, [(reference_images[0], "x")], tmp_path))
    published = data_dir / PUBLISHED / "mll23"
    assert {p.name for p in published.glob("*.pt")} == {
        p.name for p in tmp_path.glob("*.pt")
    }
    for path in published.glob("*.pt"):
        theirs = torch.load(path, map_location="cpu", weights_only=True)
        ours = torch.load(tmp_path / path.name, weights_only=True)
        assert (ours.dtype, ours.ndim) == (theirs.dtype, theirs.ndim), path.name
        assert ours.shape[1:] == theirs.shape[1:]


@pytest.mark.parametrize("name", ["mll23", "matek"])
def test_entropy_reproduces_the_published_numbers(data_dir, name):
    published = catalogue.load(data_dir / PUBLISHED / name)
    entropy = label_entropy(published.values, published.labels)
    np.testing.assert_allclose(entropy, published.entropy, atol=2e-5, equal_nan=True)


def test_published_catalogue_is_described(data_dir):
    names = data_dir / "cytosae_published" / "classnames" / "mll23_classnames.txt"
    published = catalogue.load(data_dir / PUBLISHED / "mll23", names)
    assert len(published) == 49152
    # The number of latents the reference's demo removes as noisy.
    assert int(published.flags["high magnitude"].sum()) == 248
    latent = int(np.nanargmax(np.where(published.sparsity < 0.5, published.mean_acts, 0)))
    described = published.describe(latent)
    assert len(described.top) == 10
    assert {label for _, label, _ in described.top} <= set(published.classnames)
    assert "high magnitude" in described.flags
    assert str(latent) in str(described)
    with pytest.raises(CytoError, match="no concept 49152"):
        published.describe(49152)


def test_no_labels_and_no_entropy_is_fine(data_dir):
    published = catalogue.load(data_dir / PUBLISHED / "hehr")
    assert published.entropy is None
    assert np.isnan(published.describe(0).entropy)


def test_statistics_match_a_dense_computation_in_any_batching():
    rng = np.random.default_rng(0)
    dense = rng.random((57, 40), dtype=np.float32) * (rng.random((57, 40)) < 0.3)
    dense[:, 7] = 0
    dense = dense.astype(np.float32)
    for batch in (1, 5, 57):
        statistics = Statistics(40, top=6)
        for start in range(0, 57, batch):
            statistics.add(csr_array(dense[start : start + batch]))
        order = np.argsort(-dense, axis=0, kind="stable")[:6].T
        values = np.take_along_axis(dense.T, order, axis=1)
        np.testing.assert_array_equal(statistics.values, values)
        np.testing.assert_array_equal(statistics.indices[values > 0], order[values > 0])
        np.testing.assert_allclose(statistics.sparsity, (dense > 0).mean(axis=0))
        assert np.isnan(statistics.mean_acts[7])


def test_padding_has_no_say_in_the_entropy():
    values = np.array([[2, 2, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32)
    labels = np.array([[0, 1, 1], [4, 0, 0], [0, 0, 0]], dtype=np.int64)
    entropy = label_entropy(values, labels)
    np.testing.assert_allclose(entropy, [np.log(2), 0, np.nan], atol=1e-6)


def test_broken_images_are_skipped_and_listed(tiny_models, reference_images, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    labelled = [(broken, "x"), (reference_images[1], "y")]
    built = catalogue.load(drain(catalogue.build(tiny_models, labelled, tmp_path / "out")))
    assert built.images == (str(reference_images[1]),)
    assert "broken.png" in (tmp_path / "out" / "catalogue.json").read_text()
    assert built.sparsity.max() == 1
    with pytest.raises(CytoError, match="None of the images"):
        drain(catalogue.build(tiny_models, [(broken, "x")], tmp_path / "none"))


def test_an_interrupted_run_goes_on(tiny_models, reference_images, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cytosae.core._catalogue_build._SAVE_EVERY", 2)
    labelled = [(path, "x") for path in reference_images]
    whole = catalogue.load(
        drain(catalogue.build(tiny_models, labelled, tmp_path / "whole", batch_size=2))
    )
    job = catalogue.build(tiny_models, labelled, tmp_path / "part", batch_size=2)
    for _ in range(3):
        next(job)
    job.close()
    job = catalogue.build(tiny_models, labelled, tmp_path / "part", batch_size=2)
    assert next(job).done == 4
    resumed = catalogue.load(drain(job))
    np.testing.assert_array_equal(resumed.values, whole.values)
    np.testing.assert_array_equal(resumed.mean_acts, whole.mean_acts)
    # Nothing is left to do.
    again = catalogue.build(tiny_models, labelled, tmp_path / "part", batch_size=2)
    assert next(again).done == len(labelled)
    # Another list of images is another run.
    other = catalogue.build(tiny_models, labelled[:3], tmp_path / "part", batch_size=2)
    assert next(other).done == 0


def test_new_images_are_added_to_a_finished_catalogue(
    tiny_models, reference_images, tmp_path
):
    copies = []
    for path in reference_images[:5]:
        copies.append((tmp_path / path.name, "a"))
        copies[-1][0].write_bytes(path.read_bytes())
    whole = catalogue.load(drain(catalogue.build(tiny_models, copies, tmp_path / "whole")))
    drain(catalogue.build(tiny_models, copies[:3], tmp_path / "grown"))
    job = catalogue.build(tiny_models, copies, tmp_path / "grown")
    assert next(job).done == 3
    grown = catalogue.load(drain(job))
    assert grown.images == whole.images
    for field in ("values", "indices", "labels", "mean_acts", "sparsity", "entropy"):
        np.testing.assert_allclose(getattr(grown, field), getattr(whole, field), rtol=1e-6)
    # An image that was changed, or has another label, cannot be taken out of the sums.
    copies[1][0].write_bytes(reference_images[6].read_bytes())
    assert next(catalogue.build(tiny_models, copies, tmp_path / "grown")).done == 0
    relabelled = [(copies[0][0], "b"), *copies[1:]]
    assert next(catalogue.build(tiny_models, relabelled, tmp_path / "whole")).done == 0


def test_a_damaged_state_is_no_state(tiny_models, reference_images, tmp_path):
    labelled = [(path, "x") for path in reference_images[:2]]
    drain(catalogue.build(tiny_models, labelled, tmp_path))
    state = tmp_path / "state.npz"
    state.write_bytes(state.read_bytes()[:500])
    assert next(catalogue.build(tiny_models, labelled, tmp_path)).done == 0


def test_labels_come_from_folders_and_tables(tmp_path):
    for name in ("blast/1.png", "blast/2.PNG", "mono/3.jpg", "mono/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PillowImage.new("RGB", (9, 9)).save(tmp_path / name, "PNG")
    found = catalogue.labelled_images([tmp_path])
    assert [(p.name, label) for p, label in found] == [
        ("1.png", "blast"),
        ("2.PNG", "blast"),
        ("3.jpg", "mono"),
    ]
    table = tmp_path / "list.csv"
    table.write_text("label,image\nnormal,mono/3.jpg\n", encoding="utf-8-sig")
    assert catalogue.labelled_images([table]) == [(tmp_path / "mono/3.jpg", "normal")]
    table.write_text("picture\nx.png\n")
    with pytest.raises(CytoError, match="columns image and label"):
        catalogue.labelled_images([table])
    with pytest.raises(CytoError, match="does not exist"):
        catalogue.labelled_images([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CytoError, match="No images"):
        catalogue.labelled_images([tmp_path / "empty"])


def test_damaged_and_missing_files_are_named(data_dir, tmp_path):
    with pytest.raises(CytoError, match=r"max_activating_image_values\.pt is missing"):
        catalogue.load(tmp_path)
    for path in (data_dir / PUBLISHED / "hehr").glob("*.pt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    cut = (tmp_path / "sae_sparsity.pt").read_bytes()[:1000]
    (tmp_path / "sae_sparsity.pt").write_bytes(cut)
    with pytest.raises(CytoError, match=r"sae_sparsity\.pt is damaged"):
        catalogue.load(tmp_path)
    torch.save(torch.zeros(5), tmp_path / "sae_sparsity.pt")
    with pytest.raises(CytoError, match="not of one SAE"):
        catalogue.load(tmp_path)
