"""Loading two files into models: the authors' numbers, and pairs that do not fit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_cytosae.core import checkpoints, loading, models, precision
from napari_cytosae.core._pair import open_pair, pick_device
from napari_cytosae.core._products import Product, _fusable
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.sae import slices
from napari_cytosae.core.types import CheckpointError, CytoError, ModelMismatchError

NUMBERS = ("001", "003", "005", "007", "008", "010", "011")


@pytest.fixture(scope="module")
def expected(reference_dir):
    with np.load(reference_dir / "expected.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def tiny(reference_dir):
    return load_models(
        reference_dir / "backbone_tiny_random.pth",
        reference_dir / "sae_tiny_random.pt",
        precision="float32",
    )


@pytest.fixture(scope="module")
def crops(data_dir):
    first = data_dir / "cytosae_published" / "19-6574.PAP.PB~E.1-1232.TIF"
    folder = data_dir / "wbc_segmentation" / "dataset2"
    paths = [first, *(folder / f"{number}.png" for number in NUMBERS)]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


# --- the authors' numbers -------------------------------------------------------------


def test_pixels_are_bit_equal(crops, expected):
    np.testing.assert_array_equal(models.preprocess(crops[:2]), expected["pixels"])


def test_residual_and_latents(tiny, crops, expected):
    tokens = tiny.tokens(crops[:2])
    assert tokens.dtype == np.float32
    assert tokens.shape == (2, 257, 128)
    assert relative_error(tokens, expected["residual"]) < 1e-5
    latents = tiny.latents(crops[:2])
    assert latents.dtype == np.float32
    assert relative_error(latents, expected["latents"]) < 1e-5
    assert np.abs(latents - expected["latents"]).max() < 1e-4 * expected["latents"].max()


def test_reconstruction(reference_dir, tiny, crops, expected):
    from napari_cytosae.core.sae import Sae

    sae = Sae(checkpoints.open_sae(reference_dir / "sae_tiny_random.pt"))
    got = sae.decode(torch.from_numpy(tiny.latents(crops[:2])))
    assert relative_error(got.numpy(), expected["reconstruction"]) < 1e-5


def test_chosen_latents(tiny, crops, expected):
    chosen = [900, 0, 5]
    got = tiny.latents(crops[:2], chosen)
    assert relative_error(got, expected["latents"][..., chosen]) < 1e-5
    assert tiny.latents(crops[:2], []).shape == (2, 257, 0)


def test_encode(tiny, crops, expected):
    got = tiny.encode(crops)
    np.testing.assert_array_equal(got.n_patches.toarray(), expected["n_patches"])
    with_cls = got.n_patches.toarray() + (got.cls.toarray() > 0.2)
    np.testing.assert_array_equal(with_cls, expected["n_tokens_with_cls"])
    for ours, theirs in (
        ("max", "max_patch"),
        ("mean", "mean_patch"),
        ("mean_with_cls", "mean_with_cls"),
    ):
        dense = getattr(got, ours).toarray()
        assert relative_error(dense, expected[theirs]) < 1e-5
        np.testing.assert_array_equal(dense > 0, expected[theirs] > 0)
    assert got.sae_sha256 == tiny.sae_info.sha256


def test_nothing_to_encode(tiny):
    assert tiny.tokens([]).shape == (0, 257, 128)
    assert tiny.latents([], [1]).shape == (0, 257, 1)
    assert tiny.encode([]).n_patches.shape == (0, 1024)


def test_what_models_say_of_themselves(tiny):
    assert (tiny.layer, tiny.grid, tiny.precision) == (4, 16, "float32")
    assert tiny.names == {}
    assert tiny.backbone_info.width == tiny.sae_info.d_in == 128


# --- concept maps from kept tokens ----------------------------------------------------


@pytest.fixture(scope="module")
def own_topk(reference_dir, tmp_path_factory):
    """The tiny SAE once more, with competing latents and a name."""
    tensors = checkpoints.open_sae(reference_dir / "sae_tiny_random.pt").tensors
    path = tmp_path_factory.mktemp("own") / "topk.safetensors"
    checkpoints.save_sae(path, tensors, kind="topk", k=8, layer=-2, names={3: "nucleus"})
    return load_models(reference_dir / "backbone_tiny_random.pth", path)


def encode(loaded, crops, **options):
    *_, last = models.pipeline.encode(loaded, crops, batch_size=len(crops), **options)
    return last.partial


def test_concept_grids_are_the_latents(tiny, crops, expected):
    chosen = [7, 0, 150]
    grids = tiny.concept_grids(encode(tiny, crops[:2]), chosen)
    assert grids.shape == (3, 2, 16, 16)
    assert grids.dtype == np.float32
    theirs = expected["latents"][:, 1:, chosen].reshape(2, 16, 16, 3).transpose(3, 0, 1, 2)
    # Tokens are kept in float16.
    assert relative_error(grids, theirs) < 1e-3


def test_concept_grids_where_latents_compete(own_topk, crops):
    every = list(range(1024))
    grids = own_topk.concept_grids(encode(own_topk, crops[:2]), every)
    latents = own_topk.latents(crops[:2])[:, 1:].reshape(2, 16, 16, 1024)
    kept = grids.transpose(1, 2, 3, 0)
    # Tokens are kept in float16: a patch in a hundred has a near tie for its last place.
    same = ((kept > 0) == (latents > 0)).all(axis=-1)
    assert same.mean() > 0.97
    assert relative_error(kept[same], latents[same]) < 1e-3
    assert set((latents > 0).sum(axis=-1).ravel()) == {8}
    assert own_topk.names == {3: "nucleus"}


def test_results_of_other_models_are_refused(tiny, own_topk, crops):
    with pytest.raises(CytoError, match="encoded with another SAE than topk; encode them"):
        own_topk.concept_grids(encode(tiny, crops[:1]), [0])
    without = encode(tiny, crops[:1], keep_tokens=False)
    assert without.tokens is None
    with pytest.raises(CytoError, match="without keeping tokens"):
        tiny.concept_grids(without, [0])


@pytest.mark.parametrize("concept", [-1, 1024])
def test_concepts_that_are_not_there(tiny, crops, concept):
    with pytest.raises(CytoError, match=f"has no concept {concept}; its concepts are 0 to"):
        tiny.latents(crops[:1], [concept])
    with pytest.raises(CytoError, match=f"has no concept {concept}"):
        tiny.concept_grids(encode(tiny, crops[:1]), [0, concept])


# --- pairs that do not fit ------------------------------------------------------------


def save_sae(path, width: int, layer: int = -2, backbone: str = "") -> str:
    tensors = {
        "W_enc": torch.zeros(width, 8),
        "b_enc": torch.zeros(8),
        "W_dec": torch.zeros(8, width),
        "b_dec": torch.zeros(width),
    }
    checkpoints.save_sae(path, tensors, kind="relu", layer=layer, backbone=backbone)
    return str(path)


@pytest.mark.parametrize(
    ("width", "backbone", "fitting"),
    [
        (768, "dinov2_vitb14", "DinoBloom-B"),
        (1536, "", "DinoBloom-G"),
        (768, "openai/clip-vit-base-patch16", "openai/clip-vit-base-patch16"),
        (192, "starter", "starter"),
        (100, "", "a 100-wide backbone"),
    ],
)
def test_a_width_that_does_not_fit(reference_dir, tmp_path, width, backbone, fitting):
    sae = save_sae(tmp_path / "sae.safetensors", width, backbone=backbone)
    with pytest.raises(ModelMismatchError) as error:
        load_models(reference_dir / "backbone_tiny_random.pth", sae)
    assert str(error.value) == (
        f"SAE sae reads {width}-wide tokens of block -2; backbone backbone_tiny_random.pth "
        f"gives 128-wide ones; use {fitting} with this SAE."
    )


@pytest.mark.parametrize("layer", [10, -7])
def test_a_layer_that_does_not_fit(reference_dir, tmp_path, layer):
    sae = save_sae(tmp_path / "sae.safetensors", 128, layer, backbone="its own")
    sentence = f"SAE sae reads block {layer}, .* has 6 blocks only; use its own with"
    with pytest.raises(ModelMismatchError, match=sentence):
        load_models(reference_dir / "backbone_tiny_random.pth", sae)


def test_swapped_files(reference_dir):
    backbone = reference_dir / "backbone_tiny_random.pth"
    sae = reference_dir / "sae_tiny_random.pt"
    with pytest.raises(CheckpointError, match="is a sparse autoencoder, not a backbone"):
        load_models(sae, backbone)


def test_names_that_mean_nothing():
    with pytest.raises(CheckpointError, match="no model or file 'nonsense'"):
        load_models("nonsense")


# --- devices and precision ------------------------------------------------------------


def test_devices():
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (pick_device("auto").type == "cpu") != gpu
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(CytoError, match="no device abacus here; use one of auto"):
        pick_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(CytoError, match="no device cuda here"):
            pick_device("cuda")


def test_bfloat16_keeps_the_agreement(reference_dir, tiny, crops):
    fast = load_models(
        reference_dir / "backbone_tiny_random.pth",
        reference_dir / "sae_tiny_random.pt",
        precision="bfloat16",
    )
    assert fast.precision == "bfloat16"
    exact, rounded = tiny.encode(crops), fast.encode(crops)
    n32 = exact.n_patches.sum(axis=0)
    error = np.abs(rounded.n_patches.sum(axis=0) - n32).sum() / n32.sum()
    assert 0 < error < 0.004
    assert precision.agree(rounded, exact)
    assert fast.tokens(crops[:1]).dtype == np.float32
    assert fast.latents(crops[:1], [3]).dtype == np.float32


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_are_held_once(reference_dir, tmp_path, crops, precision):
    """The products' copies of the backbone are all there is; the SAE stays on disk."""
    if not _fusable(getattr(torch, precision)):
        pytest.skip("this torch or this CPU has no fused products")
    backbone, sae = tmp_path / "backbone.pth", tmp_path / "sae.pt"
    shutil.copy(reference_dir / "backbone_tiny_random.pth", backbone)
    shutil.copy(reference_dir / "sae_tiny_random.pt", sae)
    loaded = load_models(backbone, sae, precision=precision)
    loaded.encode(crops[:1])
    mapped = Path("/proc/self/maps").read_text()
    assert str(backbone) not in mapped
    assert str(sae) in mapped


def test_borrowed_weights_are_those_of_the_files(reference_dir, tiny, crops):
    """What `auto` compares with bfloat16 needs no memory of its own."""
    files = open_pair(
        reference_dir / "backbone_tiny_random.pth", reference_dir / "sae_tiny_random.pt"
    )
    lent = {tensor.data_ptr() for tensor in files[0].tensors.values()}
    encoder = files[1].tensors["W_enc"]
    borrower = models.Models(*files, torch.device("cpu"), "float32", borrowed=True)
    np.testing.assert_allclose(
        borrower.tokens(crops), tiny.tokens(crops), rtol=1e-4, atol=1e-4
    )
    ours, theirs = borrower.encode(crops), tiny.encode(crops)
    assert precision.agree(ours, theirs)
    assert abs(ours.mean - theirs.mean).max() < 1e-4
    products = [m for m in borrower._backbone.modules() if isinstance(m, Product)]
    assert len(products) == 4 * (borrower.layer + 1)
    assert {product.weight.data_ptr() for product in products} <= lent
    for latents, product in zip(
        slices(encoder.shape[1]), borrower._sae._products, strict=True
    ):
        assert product.weight.data_ptr() == encoder[:, latents].data_ptr()


@pytest.mark.parametrize("faster", [True, False])
def test_auto_takes_bfloat16_only_where_it_is_faster(
    reference_dir, tiny, crops, monkeypatch, faster
):
    monkeypatch.setattr(loading, "faster_in_bfloat16", lambda device: faster)
    files = (
        reference_dir / "backbone_tiny_random.pth",
        reference_dir / "sae_tiny_random.pt",
    )
    assert load_models(*files).precision == ("bfloat16" if faster else "float32")
    monkeypatch.setattr(loading, "agree", lambda fast, exact: False)
    exact = load_models(*files)
    assert exact.precision == "float32"
    # The rounded copy that was tried has left no trace in the weights.
    np.testing.assert_array_equal(exact.tokens(crops[:1]), tiny.tokens(crops[:1]))


def test_auto_measures_once(reference_dir, monkeypatch, tmp_path):
    """Noise in the timing must not change a result from one day to the next."""
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "1")
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path))
    files = (
        reference_dir / "backbone_tiny_random.pth",
        reference_dir / "sae_tiny_random.pt",
    )
    monkeypatch.setattr(loading, "faster_in_bfloat16", lambda device: True)
    assert load_models(*files).precision == "bfloat16"
    monkeypatch.setattr(loading, "faster_in_bfloat16", lambda device: False)
    assert load_models(*files).precision == "bfloat16"
    assert load_models(files[0], files[1], precision="float32").precision == "float32"
    (tmp_path / "encoded" / "precision.json").unlink()
    assert load_models(*files).precision == "float32"


def test_precisions_that_there_are_not(reference_dir):
    with pytest.raises(CytoError, match="no precision float8; use one of auto, float32"):
        load_models(precision="float8")
