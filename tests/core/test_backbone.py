"""The backbone against plain timm models; its pixels against the book, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

from napari_cytosae.core import checkpoints
from napari_cytosae.core.backbone import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_backbone,
    preprocess,
    resolve_layer,
)
from napari_cytosae.core.checkpoints import BackboneFile
from napari_cytosae.core.types import CheckpointError, ImageError, ModelMismatchError


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def saved(tmp_path, model, **options) -> BackboneFile:
    path = tmp_path / "vit.safetensors"
    checkpoints.save_backbone(path, model.state_dict(), **options)
    return checkpoints.open_backbone(path)


def filled(model: torch.nn.Module) -> torch.nn.Module:
    """Random everywhere: a fresh model's zeros and tiny scales would hide mistakes."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim == 1 else 0.05)
    return model.eval()


def block_output(model: torch.nn.Module, layer: int, pixels: torch.Tensor) -> torch.Tensor:
    kept = []
    hook = model.blocks[layer].register_forward_hook(lambda *args: kept.append(args[2]))
    with torch.inference_mode():
        model(pixels)
    hook.remove()
    return kept[0]


# --- pixels ---------------------------------------------------------------------------


def by_the_book(crop: np.ndarray) -> np.ndarray:
    """The published transform, in plain numpy after Pillow's resize."""
    resized = Image.fromarray(crop).resize((224, 224), Image.Resampling.BILINEAR)
    scaled = np.asarray(resized).astype(np.float32) / np.float32(255)
    mean, std = np.float32(IMAGENET_MEAN), np.float32(IMAGENET_STD)
    return ((scaled - mean) / std).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (224, 224), (288, 301), (60, 17)])
def test_pixels_of_any_size_are_those_of_the_book(shape):
    crop = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    got = preprocess([crop])
    assert got.dtype == torch.float32
    assert got.shape == (1, 3, 224, 224)
    np.testing.assert_array_equal(got[0].numpy(), by_the_book(crop))


def test_views_are_taken_as_they_look():
    whole = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    view = whole[10:70:2, ::-1]
    assert torch.equal(preprocess([view]), preprocess([view.copy()]))


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        (np.zeros((9, 9), np.uint8), r"uint8 of shape \(9, 9\)"),
        (np.zeros((9, 9, 4), np.uint8), r"uint8 of shape \(9, 9, 4\)"),
        (np.zeros((9, 9, 3), np.float32), "float32"),
        (np.zeros((9, 9, 3), np.uint16), "uint16"),
        (np.zeros((0, 9, 3), np.uint8), "no pixels; leave it out"),
        ([[1, 2, 3]], "is a list; give numpy arrays"),
    ],
)
def test_other_crops_are_refused_by_their_number(crop, message):
    good = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(ImageError, match=f"Crop 1 .*{message}") as error:
        preprocess([good, crop])
    assert str(error.value).endswith(".")


def test_no_crops():
    assert preprocess([]).shape == (0, 3, 224, 224)


# --- tokens ---------------------------------------------------------------------------

ARCHITECTURES = {
    "DINOv2, layer scale": {"init_values": 1e-5, "patch_size": 14},
    "the starter's": {"embed_dim": 192, "depth": 6, "num_heads": 3, "patch_size": 14},
    "plain ViT/16, no qkv bias": {"patch_size": 16, "qkv_bias": False},
    "four registers": {"patch_size": 14, "reg_tokens": 4, "no_embed_class": True},
}


@pytest.mark.parametrize("options", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("layer", [-2, 0, -1])
def test_residual_stream_is_timms(tmp_path, pixels, options, layer):
    defaults = {"embed_dim": 64, "depth": 3, "num_heads": 1, "num_classes": 10}
    model = filled(VisionTransformer(img_size=224, **defaults | options))
    backbone = build_backbone(saved(tmp_path, model), layer)
    assert (
        len(backbone.vit.blocks) == len(model.blocks[:layer]) + 1 if layer != -1 else True
    )
    expected = block_output(model, layer, pixels)
    registers = options.get("reg_tokens", 0)
    expected = torch.cat([expected[:, :1], expected[:, 1 + registers :]], dim=1)
    got = backbone(pixels)
    assert got.shape == (2, 1 + backbone.info.grid**2, backbone.info.width)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_giant_swiglu_is_timms(tmp_path, pixels):
    """The giant's block, narrow: Meta's names in, timm's SwiGLU out."""
    options = {"img_size": 224, "embed_dim": 192, "depth": 2, "num_heads": 3}
    model = filled(timm.create_model("vit_giant_patch14_dinov2", **options))
    names = {".mlp.fc1.": ".mlp.w12.", ".mlp.fc2.": ".mlp.w3."}
    state = {}
    for name, tensor in model.state_dict().items():
        for ours, metas in names.items():
            name = name.replace(ours, metas)
        state[f"backbone.{name}"] = tensor
    torch.save({"teacher": state}, tmp_path / "DinoBloom-G.pth")
    file = checkpoints.open_backbone(tmp_path / "DinoBloom-G.pth")
    got = build_backbone(file, -1)(pixels)
    torch.testing.assert_close(got, block_output(model, -1, pixels), rtol=1e-5, atol=1e-5)


def test_a_model_of_another_input_size_is_resampled_as_timm_does(tmp_path, pixels):
    options = {"patch_size": 14, "embed_dim": 64, "depth": 2, "num_heads": 1}
    large = filled(VisionTransformer(img_size=518, **options))
    backbone = build_backbone(saved(tmp_path, large), -1)
    large.set_input_size((224, 224))
    expected = block_output(large, -1, pixels)
    torch.testing.assert_close(backbone(pixels), expected, rtol=1e-5, atol=1e-5)


def test_only_the_needed_blocks_are_built_and_no_weight_is_copied(reference_dir):
    file = checkpoints.open_backbone(reference_dir / "backbone_tiny_random.pth")
    backbone = build_backbone(file, -2)
    assert len(backbone.vit.blocks) == 5
    assert isinstance(backbone.vit.norm, torch.nn.Identity)
    for name, tensor in backbone.vit.state_dict().items():
        assert tensor.data_ptr() == file.tensors[name].data_ptr()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize(("layer", "index"), [(-2, 4), (4, 4), (-6, 0), (0, 0)])
def test_layers_count_from_either_end(reference_dir, layer, index):
    info = checkpoints.inspect(reference_dir / "backbone_tiny_random.pth")
    assert resolve_layer(info, layer) == index


@pytest.mark.parametrize("layer", [-7, 6])
def test_a_block_that_is_not_there(reference_dir, layer):
    file = checkpoints.open_backbone(reference_dir / "backbone_tiny_random.pth")
    with pytest.raises(
        ModelMismatchError, match=f"Block {layer} .* has 6 blocks only; use"
    ):
        build_backbone(file, layer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.1.attn.proj.weight": torch.zeros(64, 65)}, "size mismatch for blocks.1"),
        ({"blocks.1.attn.proj.weight": None}, "Missing key.*blocks.1.attn.proj.weight"),
        ({"blocks.0.attn.extra.weight": torch.zeros(3)}, "Unexpected key"),
        ({"pos_embed": torch.zeros(1, 200, 64)}, "200 tokens, which make no square"),
    ],
)
def test_tensors_that_disagree(tmp_path, change, message):
    model = VisionTransformer(
        img_size=224, patch_size=14, embed_dim=64, depth=2, num_heads=1
    )
    state = {k: v for k, v in {**model.state_dict(), **change}.items() if v is not None}
    torch.save(state, tmp_path / "vit.pth")
    file = checkpoints.open_backbone(tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match=message) as error:
        build_backbone(file, -1)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("fetch the weights again.")
