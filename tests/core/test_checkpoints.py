"""Weights files of every kind: the good ones open, the bad ones say what to do."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from napari_cytosae.core import checkpoints
from napari_cytosae.core.files import sha256_file
from napari_cytosae.core.types import BackboneInfo, CheckpointError, SaeInfo

D_IN, D_SAE = 64, 96


@pytest.fixture
def sae_tensors():
    torch.manual_seed(0)
    return {
        "W_enc": torch.randn(D_IN, D_SAE),
        "b_enc": torch.randn(D_SAE),
        "W_dec": torch.randn(D_SAE, D_IN),
        "b_dec": torch.randn(D_IN),
    }


@pytest.fixture
def vit_tensors():
    torch.manual_seed(0)
    import timm

    model = timm.models.VisionTransformer(
        img_size=224,
        patch_size=14,
        embed_dim=D_IN,
        depth=3,
        num_heads=1,
        num_classes=0,
        init_values=1e-5,
    )
    return model.state_dict()


def stub_class(module: str, name: str) -> type:
    """A class that pickles under the authors' name."""
    return type(name, (), {"__module__": module, "__qualname__": name})


@pytest.fixture
def as_published(monkeypatch):
    """Pickle a configuration object as the authors' training code does."""
    import sys
    import types

    def make(fields, module="src.sae_training.config", name="ViTSAERunnerConfig"):
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            dotted = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, dotted, types.ModuleType(dotted))
        cls = stub_class(module, name)
        setattr(sys.modules[module], name, cls)
        config = cls()
        vars(config).update(fields)
        return config

    return make


# --- the published files --------------------------------------------------------------


def test_dinobloom_checkpoint(reference_dir):
    path = reference_dir / "backbone_tiny_random.pth"
    file = checkpoints.open_backbone(path)
    assert file.info == BackboneInfo(
        name="backbone_tiny_random.pth",
        width=128,
        depth=6,
        heads=2,
        patch_size=14,
        image_size=224,
        sha256=sha256_file(path),
        source=str(path),
    )
    assert file.info.grid == 16
    raw = torch.load(path, weights_only=True)["teacher"]
    assert len(file.tensors) == 4 + 6 * 14
    for name, tensor in file.tensors.items():
        assert torch.equal(tensor, raw[f"backbone.{name}"])


def test_cytosae_checkpoint(reference_dir):
    path = reference_dir / "sae_tiny_random.pt"
    file = checkpoints.open_sae(path)
    assert file.info == SaeInfo(
        name="sae_tiny_random.pt",
        kind="relu",
        d_in=128,
        d_sae=1024,
        layer=-2,
        sha256=sha256_file(path),
        backbone="dinov2_vitb14",
        source=str(path),
    )
    assert {name: tuple(t.shape) for name, t in file.tensors.items()} == {
        "W_enc": (128, 1024),
        "b_enc": (1024,),
        "W_dec": (1024, 128),
        "b_dec": (128,),
    }
    assert file.names == {}


@pytest.mark.parametrize(
    ("module", "name", "key"),
    [
        ("src.sae_training.config", "ViTSAERunnerConfig", "config"),
        ("src.sae_training.config", "LanguageModelSAERunnerConfig", "cfg"),
        ("sae_training.config", "ViTSAERunnerConfig", "cfg"),
    ],
)
def test_older_published_files(tmp_path, sae_tensors, as_published, module, name, key):
    config = as_published(
        {"block_layer": 10, "device": torch.device("cuda:0")}, module, name
    )
    path = tmp_path / "sae.pt"
    torch.save({key: config, "state_dict": sae_tensors}, path)
    file = checkpoints.open_sae(path)
    assert file.info.layer == 10
    assert torch.equal(file.tensors["W_enc"], sae_tensors["W_enc"])


def test_tensors_saved_on_a_gpu_open_without_one(
    tmp_path, sae_tensors, as_published, monkeypatch
):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    path = tmp_path / "sae.pt"
    torch.save({"cfg": as_published({}), "state_dict": sae_tensors}, path)
    monkeypatch.undo()
    assert b"cuda:0" in zipfile.ZipFile(path).read("sae/data.pkl")
    file = checkpoints.open_sae(path)
    assert file.tensors["b_dec"].device.type == "cpu"
    assert torch.equal(file.tensors["b_dec"], sae_tensors["b_dec"])


def test_files_of_old_torch_open(tmp_path, sae_tensors):
    path = tmp_path / "sae.pt"
    payload = {"cfg": {"block_layer": 4}, "state_dict": sae_tensors}
    torch.save(payload, path, _use_new_zipfile_serialization=False)
    assert checkpoints.open_sae(path).info.layer == 4


def test_weights_stay_on_disk_until_used(tmp_path, sae_tensors):
    """Mapped, not read: the file's bytes change, and so do the tensors."""
    path = tmp_path / "sae.safetensors"
    checkpoints.save_sae(path, sae_tensors, kind="relu", layer=-2)
    file = checkpoints.open_sae(path)
    stored = sae_tensors["b_dec"].numpy().tobytes()
    offset = path.read_bytes().index(stored)
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(np.full(1, 42, np.float32).tobytes())
    assert file.tensors["b_dec"][0] == 42


def resident(path) -> int:
    """Bytes of a mapped file that are in this process's memory."""
    kilobytes, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            kilobytes += int(line.split()[1])
    return 1024 * kilobytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["sae.safetensors", "sae.pt"])
def test_the_check_leaves_nothing_in_memory(tmp_path, name):
    path, width = tmp_path / name, 4096
    tensors = {
        "W_enc": torch.ones(64, width),
        "b_enc": torch.zeros(width),
        "W_dec": torch.ones(width, 64),
        "b_dec": torch.zeros(64),
    }
    if name == "sae.pt":
        torch.save({"cfg": {}, "state_dict": tensors}, path)
    else:
        checkpoints.save_sae(path, tensors, kind="relu", layer=-2)
    file = checkpoints.open_sae(path)
    # The header and what the system reads around it.
    assert resident(path) < 0.3 * path.stat().st_size
    file.tensors["W_enc"].sum()
    assert 0.4 < resident(path) / path.stat().st_size < 0.8


# --- our own files --------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_own_sae_round_trip(tmp_path, sae_tensors, storage):
    path = tmp_path / "mine.safetensors"
    checkpoints.save_sae(
        path,
        sae_tensors,
        kind="topk",
        k=8,
        layer=-2,
        names={3: "nucleus", 11: "rim"},
        storage=storage,
        backbone="starter",
        training_data="BCCD",
        licence="MIT",
        citation="us",
    )
    file = checkpoints.open_sae(path)
    assert file.info == SaeInfo(
        name="mine",
        kind="topk",
        d_in=D_IN,
        d_sae=D_SAE,
        layer=-2,
        sha256=sha256_file(path),
        k=8,
        backbone="starter",
        source=str(path),
        licence="MIT",
        citation="us",
        training_data="BCCD",
    )
    assert file.names == {3: "nucleus", 11: "rim"}
    for name, tensor in sae_tensors.items():
        stored = tensor.to(getattr(torch, storage)).float()
        assert file.tensors[name].dtype == torch.float32
        assert torch.equal(file.tensors[name], stored)


def test_metadata_is_readable_json_with_a_sum_of_the_tensors(tmp_path, sae_tensors):
    import hashlib

    path = tmp_path / "mine.safetensors"
    checkpoints.save_sae(path, sae_tensors, kind="relu", layer=-2)
    with safe_open(path, "pt") as file:
        own = json.loads(file.metadata()["cytosae"])
    digest = hashlib.sha256()
    for name in sorted(sae_tensors):
        digest.update(sae_tensors[name].numpy().tobytes())
    assert own["sha256"] == digest.hexdigest()
    assert (own["schema"], own["role"], own["kind"]) == (1, "sae", "relu")
    assert (own["d_in"], own["d_sae"]) == (D_IN, D_SAE)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_own_backbone_round_trip(tmp_path, vit_tensors, storage):
    path = tmp_path / "vit.safetensors"
    checkpoints.save_backbone(path, vit_tensors, storage=storage, licence="MIT")
    file = checkpoints.open_backbone(path)
    assert file.info == BackboneInfo(
        name="vit",
        width=D_IN,
        depth=3,
        heads=1,
        patch_size=14,
        image_size=224,
        sha256=sha256_file(path),
        source=str(path),
        licence="MIT",
    )
    assert not any(name.startswith(("norm.", "head")) for name in file.tensors)
    name = "blocks.2.mlp.fc2.weight"
    assert torch.equal(
        file.tensors[name], vit_tensors[name].to(getattr(torch, storage)).float()
    )


@pytest.mark.parametrize("name", ["backbone_tiny_random.pth", "sae_tiny_random.pt"])
def test_convert_keeps_every_number(tmp_path, reference_dir, name):
    source, target = reference_dir / name, tmp_path / "own.safetensors"
    before = checkpoints.inspect(source)
    after = checkpoints.convert(source, target)
    assert after == checkpoints.inspect(target)
    assert after.name == source.stem
    assert after.sha256 == sha256_file(target)
    if isinstance(before, BackboneInfo):
        opened = checkpoints.open_backbone
        assert (after.width, after.depth, after.heads) == (128, 6, 2)
    else:
        opened = checkpoints.open_sae
        assert (after.kind, after.layer) == ("relu", -2)
        assert after.backbone == "dinov2_vitb14"
    old, new = opened(source).tensors, opened(target).tensors
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key], new[key]) for key in old)


def test_inspect_is_what_opening_says(reference_dir):
    for name, opened in (
        ("backbone_tiny_random.pth", checkpoints.open_backbone),
        ("sae_tiny_random.pt", checkpoints.open_sae),
    ):
        path = reference_dir / name
        assert checkpoints.inspect(path) == opened(path).info


def test_a_file_changed_after_it_was_written_is_refused(tmp_path, sae_tensors):
    path = tmp_path / "mine.safetensors"
    checkpoints.save_sae(path, sae_tensors, kind="relu", layer=-2)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        checkpoints.open_sae(path)


def test_a_file_of_a_newer_version_is_refused(tmp_path, sae_tensors):
    path = tmp_path / "mine.safetensors"
    save_file(sae_tensors, path, {"cytosae": json.dumps({"schema": 99, "role": "sae"})})
    with pytest.raises(CheckpointError, match="newer napari-cytosae; update"):
        checkpoints.open_sae(path)


@pytest.mark.parametrize("bad", ["null", "[1]", "{", '{"schema": 1, "role": "sae"}'])
def test_metadata_that_is_damaged(tmp_path, sae_tensors, bad):
    path = tmp_path / "mine.safetensors"
    save_file(sae_tensors, path, {"cytosae": bad})
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        checkpoints.open_sae(path)


def test_an_interrupted_save_leaves_the_old_file(tmp_path, sae_tensors):
    path = tmp_path / "mine.safetensors"
    checkpoints.save_sae(path, sae_tensors, kind="relu", layer=-2)
    before = path.read_bytes()
    sae_tensors["W_enc"][0, 0] = 1e6
    with pytest.raises(CheckpointError, match="W_enc"):
        checkpoints.save_sae(path, sae_tensors, kind="relu", layer=-2, storage="float16")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]


# --- backbones of other origins -------------------------------------------------------


def test_giant_swiglu_names(tmp_path, vit_tensors):
    """Meta's names of the giant's MLP become timm's; nothing is transposed."""
    hidden = 4 * D_IN
    state = {name: t for name, t in vit_tensors.items() if ".mlp." not in name}
    for block in range(3):
        state |= {
            f"blocks.{block}.mlp.w12.weight": torch.randn(2 * hidden, D_IN),
            f"blocks.{block}.mlp.w12.bias": torch.randn(2 * hidden),
            f"blocks.{block}.mlp.w3.weight": torch.randn(D_IN, hidden),
            f"blocks.{block}.mlp.w3.bias": torch.randn(D_IN),
        }
    path = tmp_path / "giant.pth"
    torch.save({"teacher": {f"backbone.{k}": v for k, v in state.items()}}, path)
    tensors = checkpoints.open_backbone(path).tensors
    assert torch.equal(tensors["blocks.1.mlp.fc1.weight"], state["blocks.1.mlp.w12.weight"])
    assert torch.equal(tensors["blocks.1.mlp.fc2.bias"], state["blocks.1.mlp.w3.bias"])


def test_bare_hub_file_and_folder(tmp_path, vit_tensors):
    path = tmp_path / "model.safetensors"
    save_file(vit_tensors, path)
    # The DinoBloom ports' configuration says 518 px, which is not what they are.
    config = {
        "architecture": "vit_large_patch14_dinov2",
        "pretrained_cfg": {"input_size": 518},
    }
    for heads, settings in ((1, {}), (16, config)):
        (tmp_path / "config.json").write_text(json.dumps(settings))
        for where in (path, tmp_path):
            info = checkpoints.open_backbone(where).info
            assert (info.heads, info.image_size, info.depth) == (heads, 224, 3)


def test_width_without_heads_is_refused(tmp_path, vit_tensors):
    state = {k: v[..., :40] if k != "patch_embed.proj.weight" else v[:40]
             for k, v in vit_tensors.items()}  # fmt: skip
    path = tmp_path / "odd.safetensors"
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    with pytest.raises(CheckpointError, match=r"40 wide.*config\.json"):
        checkpoints.open_backbone(path)


def test_heads_that_do_not_divide_the_width(tmp_path, vit_tensors):
    save_file(vit_tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "vit_small_patch14_dinov2"}')
    with pytest.raises(CheckpointError, match="64 wide, which 6 attention heads cannot"):
        checkpoints.open_backbone(tmp_path)


@pytest.mark.parametrize("block", [1, 10**12])
def test_blocks_with_a_gap(tmp_path, vit_tensors, block):
    if block == 1:
        state = {k: v for k, v in vit_tensors.items() if not k.startswith("blocks.1.")}
    else:
        state = {**vit_tensors, f"blocks.{block}.norm1.weight": torch.zeros(D_IN)}
    torch.save({"teacher": state}, tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match="lacks some of the blocks"):
        checkpoints.open_backbone(tmp_path / "vit.pth")


@pytest.mark.parametrize("name", ["cls_token", "blocks.0.mlp.fc1.weight", "pos_embed"])
def test_not_quite_a_vision_transformer(tmp_path, vit_tensors, name):
    del vit_tensors[name]
    torch.save(vit_tensors, tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match="is not a vision transformer with a class"):
        checkpoints.open_backbone(tmp_path / "vit.pth")


# --- bad files ------------------------------------------------------------------------


def assert_one_sentence(error: pytest.ExceptionInfo[CheckpointError], path) -> None:
    text = str(error.value)
    assert str(path) in text
    assert text.endswith(".")
    assert "\n" not in text


@pytest.mark.parametrize("opened", [checkpoints.open_backbone, checkpoints.open_sae])
def test_missing_file(tmp_path, opened):
    path = tmp_path / "nowhere.pt"
    with pytest.raises(CheckpointError, match="models list") as error:
        opened(path)
    assert_one_sentence(error, path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pt", b""),
        ("image.pth", b"\x89PNG\r\n\x1a\n" + bytes(200)),
        ("notes.safetensors", b"These are not weights, whatever the suffix says."),
        ("config.json", b'{"d_in": 768}\n{"more": "json"}'),
        ("broken.json", b"{not json at all\n"),
    ],
)
def test_not_weights(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a weights file; choose") as error:
        checkpoints.inspect(path)
    assert_one_sentence(error, path)


def test_a_zip_of_other_things(tmp_path):
    path = tmp_path / "slides.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("slide.txt", "text")
    with pytest.raises(CheckpointError, match="is not a weights file"):
        checkpoints.open_sae(path)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["backbone_tiny_random.pth", "sae_tiny_random.pt"])
def test_truncated_pickle(tmp_path, reference_dir, name, keep):
    content = (reference_dir / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CheckpointError, match="damaged or incomplete; download") as error:
        checkpoints.inspect(path)
    assert_one_sentence(error, path)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_truncated_safetensors(tmp_path, sae_tensors, keep):
    path = tmp_path / "mine.safetensors"
    checkpoints.save_sae(path, sae_tensors, kind="relu", layer=-2)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        checkpoints.open_sae(path)


def test_each_in_the_other_role(reference_dir):
    backbone = reference_dir / "backbone_tiny_random.pth"
    sae = reference_dir / "sae_tiny_random.pt"
    with pytest.raises(CheckpointError, match="is a backbone, not a sparse") as error:
        checkpoints.open_sae(backbone)
    assert_one_sentence(error, backbone)
    with pytest.raises(CheckpointError, match="is a sparse autoencoder, not a") as error:
        checkpoints.open_backbone(sae)
    assert_one_sentence(error, sae)


def test_weights_of_another_kind_of_model(tmp_path):
    path = tmp_path / "resnet.safetensors"
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(CheckpointError, match="neither a vision transformer nor"):
        checkpoints.inspect(path)


def test_a_tensor_instead_of_a_dictionary(tmp_path):
    path = tmp_path / "tensor.pt"
    torch.save(torch.zeros(3), path)
    with pytest.raises(CheckpointError, match="holds a Tensor, not a dictionary"):
        checkpoints.open_sae(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite(tmp_path, sae_tensors, vit_tensors, bad):
    sae_tensors["W_dec"][5, 7] = bad
    sae = tmp_path / "sae.pt"
    torch.save({"cfg": {}, "state_dict": sae_tensors}, sae)
    with pytest.raises(CheckpointError, match="W_dec that are not finite") as error:
        checkpoints.open_sae(sae)
    assert_one_sentence(error, sae)
    vit_tensors["blocks.1.attn.qkv.weight"][0, 0] = bad
    vit = tmp_path / "vit.pth"
    torch.save({"teacher": vit_tensors}, vit)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.attn\.qkv\.weight"):
        checkpoints.open_backbone(vit)


def test_huge_finite_values_are_no_error(tmp_path, sae_tensors):
    sae_tensors["W_dec"][:] = torch.finfo(torch.float32).max
    path = tmp_path / "sae.pt"
    torch.save({"cfg": {}, "state_dict": sae_tensors}, path)
    checkpoints.open_sae(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("b_enc", (D_SAE + 1,)), ("W_dec", (D_IN, D_SAE)), ("b_dec", (1, D_IN))],
)
def test_shapes_that_disagree(tmp_path, sae_tensors, name, shape):
    sae_tensors[name] = torch.zeros(shape)
    path = tmp_path / "sae.pt"
    torch.save({"cfg": {}, "state_dict": sae_tensors}, path)
    with pytest.raises(CheckpointError, match=f"{name} of shape") as error:
        checkpoints.open_sae(path)
    assert_one_sentence(error, path)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("topk", {}, "does not say how many latents"),
        ("topk", {"k": D_SAE + 1}, "does not say how many latents"),
        ("jumprelu", {}, "lacks threshold"),
        ("gated", {}, "of kind gated; known are relu"),
    ],
)
def test_saes_that_lack_something(tmp_path, sae_tensors, kind, options, message):
    with pytest.raises(CheckpointError, match=message):
        checkpoints.save_sae(
            tmp_path / "x.safetensors", sae_tensors, kind=kind, layer=-2, **options
        )
    assert list(tmp_path.iterdir()) == []


# --- hostile files --------------------------------------------------------------------


class Bomb:
    """Writes a file when it is unpickled without care."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return exec, (f"open({str(self.witness)!r}, 'w').close()",)


@pytest.mark.parametrize("place", ["cfg", "state_dict", "tensor"])
def test_a_hostile_pickle_runs_nothing(tmp_path, sae_tensors, place):
    path, witness = tmp_path / "sae.pt", tmp_path / "it-ran"
    payload = {"cfg": {}, "state_dict": dict(sae_tensors)}
    if place == "tensor":
        payload["state_dict"]["W_enc"] = Bomb(witness)
    else:
        payload[place] = Bomb(witness)
    torch.save(payload, path)
    for opened in (checkpoints.open_sae, checkpoints.open_backbone, checkpoints.inspect):
        with pytest.raises(
            CheckpointError, match=r"asks for (\w+\.)?exec .*could run"
        ) as error:
            opened(path)
        assert_one_sentence(error, path)
    assert not witness.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_plain_hostile_pickle_runs_nothing(tmp_path, protocol):
    path, witness = tmp_path / "sae.pt", tmp_path / "it-ran"
    path.write_bytes(pickle.dumps({"state_dict": Bomb(witness)}, protocol=protocol))
    with pytest.raises(CheckpointError):
        checkpoints.open_sae(path)
    assert not witness.exists()
    # It is as dangerous as it looks.
    pickle.loads(path.read_bytes())
    assert witness.exists()


def test_only_the_named_classes_are_let_in(tmp_path, sae_tensors, as_published):
    """Another class of the same module is refused, and the list is as it was before."""
    before = set(torch.serialization.get_safe_globals())
    config = as_published({}, name="SomethingElse")
    path = tmp_path / "sae.pt"
    torch.save({"cfg": config, "state_dict": sae_tensors}, path)
    with pytest.raises(CheckpointError, match=r"src\.sae_training\.config\.SomethingElse"):
        checkpoints.open_sae(path)
    assert set(torch.serialization.get_safe_globals()) == before


def test_saved_files_hold_tensors_only(tmp_path, sae_tensors):
    path = tmp_path / "mine.safetensors"
    checkpoints.save_sae(path, sae_tensors, kind="relu", layer=-2)
    assert load_file(path).keys() == sae_tensors.keys()
