"""Other libraries' SAE files: written here as those libraries write them, read by ours.

The expected latents are each library's own formula, spelled out.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_cytosae.core import checkpoints
from napari_cytosae.core.sae import Sae
from napari_cytosae.core.types import CheckpointError

D_IN, D_SAE, K = 16, 64, 5


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return {
        "W_enc": torch.randn(D_IN, D_SAE, generator=generator),
        "b_enc": torch.randn(D_SAE, generator=generator),
        "W_dec": torch.randn(D_SAE, D_IN, generator=generator),
        "b_dec": torch.randn(D_IN, generator=generator),
    }


@pytest.fixture
def x():
    return torch.randn(2, 9, D_IN, generator=torch.Generator().manual_seed(1))


def top_k(pre: torch.Tensor, k: int) -> torch.Tensor:
    values, indices = pre.topk(k, dim=-1)
    return torch.zeros_like(pre).scatter(-1, indices, values.relu())


def assert_encodes(path, x, expected) -> None:
    file = checkpoints.open_sae(path)
    assert checkpoints.inspect(path) == file.info
    assert 0 < (expected > 0).float().mean() < 0.7
    torch.testing.assert_close(Sae(file).encode(x), expected, rtol=1e-4, atol=1e-4)


# --- SAELens: a folder of cfg.json and sae_weights.safetensors ------------------------


def saelens(folder, weights, **config):
    """As `SAE.save_model` of SAELens 6 writes it."""
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "sae_weights.safetensors")
    settings = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.12",
            "model_name": "vit_base_patch14_dinov2",
            "hook_name": "blocks.10.hook_resid_post",
            "dataset_path": "some/cells",
        },
        "architecture": "standard",
        **config,
    }
    (folder / "cfg.json").write_text(json.dumps(settings))
    return folder


def test_saelens_standard(tmp_path, weights, x):
    folder = saelens(tmp_path / "sae", weights)
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    assert_encodes(folder, x, pre.relu())
    assert_encodes(folder / "sae_weights.safetensors", x, pre.relu())
    info = checkpoints.open_sae(folder).info
    assert (info.kind, info.layer, info.k) == ("relu", 10, None)
    assert (info.backbone, info.training_data) == ("vit_base_patch14_dinov2", "some/cells")


def test_saelens_without_b_dec_on_the_input(tmp_path, weights, x):
    folder = saelens(tmp_path / "sae", weights, apply_b_dec_to_input=False)
    assert_encodes(folder, x, (x @ weights["W_enc"] + weights["b_enc"]).relu())


@pytest.mark.parametrize("rescale", [False, True])
def test_saelens_topk(tmp_path, weights, x, rescale):
    folder = saelens(
        tmp_path / "sae",
        weights,
        architecture="topk",
        k=K,
        rescale_acts_by_decoder_norm=rescale,
    )
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    norm = weights["W_dec"].norm(dim=-1)
    expected = top_k(pre * norm if rescale else pre, K)
    assert_encodes(folder, x, expected)
    file = checkpoints.open_sae(folder)
    decoded = expected * (1 / norm if rescale else 1) @ weights["W_dec"] + weights["b_dec"]
    torch.testing.assert_close(Sae(file).decode(expected), decoded, rtol=1e-4, atol=1e-4)
    assert (file.info.kind, file.info.k) == ("topk", K)


def test_saelens_jumprelu_which_batchtopk_is_saved_as(tmp_path, weights, x):
    weights["threshold"] = torch.linspace(-1, 4, D_SAE)
    folder = saelens(tmp_path / "sae", weights, architecture="jumprelu")
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    assert_encodes(folder, x, pre.relu() * (pre > weights["threshold"]))


def test_saelens_before_version_6(tmp_path, weights, x):
    """The activation by name, and the hook at the top of the settings."""
    folder = saelens(
        tmp_path / "sae",
        weights,
        activation_fn_str="topk",
        activation_fn_kwargs={"k": K},
        hook_name="blocks.7.hook_resid_post",
        metadata=None,
    )
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    assert_encodes(folder, x, top_k(pre, K))
    assert checkpoints.inspect(folder).layer == 7


def test_saelens_on_what_goes_into_a_block_reads_the_one_before(tmp_path, weights):
    folder = saelens(
        tmp_path / "sae", weights, hook_name="blocks.7.hook_resid_pre", metadata=None
    )
    assert checkpoints.inspect(folder).layer == 6


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"metadata": {"hook_name": "blocks.4.hook_mlp_out"}},
            "reads blocks.4.hook_mlp_out",
        ),
        ({"metadata": {"hook_name": "blocks.0.hook_resid_pre"}}, "hook_resid_post"),
        ({"architecture": "gated"}, "architecture gated; known here are standard"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations=layer_norm"),
        ({"architecture": "topk", "k": None}, "does not say how many latents"),
    ],
)
def test_saelens_variants_that_are_not_known(tmp_path, weights, config, message):
    folder = saelens(tmp_path / "sae", weights, **config)
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoints.open_sae(folder)
    assert str(error.value).endswith(".")


# --- saev: a line of JSON, then torch.save --------------------------------------------


def saev(path, weights, header):
    """As `saev.nn.modeling.dump` writes it."""
    with path.open("wb") as stream:
        stream.write((json.dumps(header) + "\n").encode())
        torch.save(weights, stream)
    return path


def saev_header(schema, cls, **params):
    activation = {"cls": cls, "params": params}
    config = {"d_model": D_IN, "d_sae": D_SAE, "activation": activation}
    return {"schema": schema, "cfg": config, "commit": "unknown", "lib": "0.1.0"}


def test_saev_relu(tmp_path, weights, x):
    """saev does not take b_dec off its input."""
    sparsity = {"cls": "L1Sparsity", "params": {"coeff": 4e-4}}
    path = saev(tmp_path / "sae.pt", weights, saev_header(5, "Relu", sparsity=sparsity))
    assert_encodes(path, x, (x @ weights["W_enc"] + weights["b_enc"]).relu())
    assert checkpoints.inspect(path).layer == -2


def test_saev_topk(tmp_path, weights, x):
    path = saev(tmp_path / "sae.pt", weights, saev_header(2, "TopK", top_k=K))
    assert_encodes(path, x, top_k(x @ weights["W_enc"] + weights["b_enc"], K))


@pytest.mark.parametrize("threshold", [1.5, -0.1])
def test_saev_batchtopk_with_its_running_threshold(tmp_path, weights, x, threshold):
    state = {**weights, "activation.threshold": torch.tensor(threshold)}
    header = saev_header(4, "BatchTopK", top_k=K, momentum=0.1)
    path = saev(tmp_path / "sae.pt", state, header)
    pre = x @ weights["W_enc"] + weights["b_enc"]
    assert_encodes(path, x, torch.where(pre > max(threshold, 0), pre, 0.0))
    assert checkpoints.inspect(path).kind == "batchtopk"


def test_saev_batchtopk_of_before_there_was_one(tmp_path, weights, x):
    """Then it kept the top k of each token."""
    path = saev(tmp_path / "sae.pt", weights, saev_header(2, "BatchTopK", top_k=K))
    assert_encodes(path, x, top_k(x @ weights["W_enc"] + weights["b_enc"], K))


@pytest.mark.parametrize(
    ("header", "kind", "k"),
    [
        ({"d_vit": D_IN, "exp_factor": 4, "ghost_grads": False}, "relu", None),
        ({"schema": 1, "cls": "TopK", "cfg": {"d_vit": D_IN, "top_k": 7}}, "topk", 7),
    ],
)
def test_saev_of_the_first_schemas(tmp_path, weights, header, kind, k):
    info = checkpoints.inspect(saev(tmp_path / "sae.pt", weights, header))
    assert (info.kind, info.k, info.d_in, info.d_sae) == (kind, k, D_IN, D_SAE)


def test_saev_cut_short(tmp_path, weights):
    path = saev(tmp_path / "sae.pt", weights, saev_header(5, "Relu"))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        checkpoints.open_sae(path)


# --- overcomplete: torch.save of a state dict -----------------------------------------


@pytest.fixture
def overcomplete(weights):
    """The state dict of `overcomplete.sae.SAE` with its default, linear encoder."""
    return {
        "encoder.final_block.0.weight": weights["W_enc"].t().contiguous(),
        "encoder.final_block.0.bias": weights["b_enc"],
        "dictionary._weights": weights["W_dec"],
        "dictionary.multiplier": torch.tensor(0.3),
    }


def test_overcomplete_relu(tmp_path, overcomplete, weights, x):
    path = tmp_path / "sae.pt"
    torch.save(overcomplete, path)
    expected = (x @ weights["W_enc"] + weights["b_enc"]).relu()
    assert_encodes(path, x, expected)
    rows = weights["W_dec"] / weights["W_dec"].norm(dim=1, keepdim=True)
    decoded = expected @ rows * np.exp(0.3)
    got = Sae(checkpoints.open_sae(path)).decode(expected)
    torch.testing.assert_close(got, decoded, rtol=1e-4, atol=1e-4)


def test_overcomplete_jump(tmp_path, overcomplete, weights, x):
    logarithms = torch.linspace(-3, 1, D_SAE)
    torch.save({**overcomplete, "thresholds": logarithms}, tmp_path / "sae.pt")
    pre = x @ weights["W_enc"] + weights["b_enc"]
    assert_encodes(tmp_path / "sae.pt", x, pre.relu() * (pre > logarithms.exp()))


@pytest.mark.parametrize("beside", [False, True])
def test_overcomplete_topk_says_k_beside_its_state(
    tmp_path, overcomplete, weights, x, beside
):
    if beside:
        save_file(overcomplete, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({"top_k": K}))
        path = tmp_path
    else:
        path = tmp_path / "sae.pt"
        torch.save({"state_dict": overcomplete, "top_k": K}, path)
    assert_encodes(path, x, top_k(x @ weights["W_enc"] + weights["b_enc"], K))


def test_overcomplete_batch_norm_is_folded_in(tmp_path, overcomplete, weights, x):
    norm = torch.nn.BatchNorm1d(D_SAE).eval()
    generator = torch.Generator().manual_seed(2)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data.uniform_(0.5, 2, generator=generator)
    state = {f"encoder.final_block.1.{k}": v for k, v in norm.state_dict().items()}
    torch.save({**overcomplete, **state}, tmp_path / "sae.pt")
    pre = x @ weights["W_enc"] + weights["b_enc"]
    with torch.no_grad():
        expected = norm(pre.flatten(0, 1)).view_as(pre).relu()
    assert_encodes(tmp_path / "sae.pt", x, expected)


def test_overcomplete_tied(tmp_path, overcomplete, weights, x):
    state = {k: v for k, v in overcomplete.items() if k.startswith("dictionary")}
    torch.save({**state, "encoder.bias": weights["b_enc"]}, tmp_path / "sae.pt")
    rows = weights["W_dec"] / weights["W_dec"].norm(dim=1, keepdim=True) * np.exp(0.3)
    assert_encodes(tmp_path / "sae.pt", x, (x @ rows.t() + weights["b_enc"]).relu())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("encoder.mlp_blocks.0.0.weight", "encoder of several layers"),
        ("encoder.final_block.1.weight", "layer norm after its encoder"),
    ],
)
def test_overcomplete_encoders_that_are_not_linear(tmp_path, overcomplete, extra, message):
    torch.save({**overcomplete, extra: torch.ones(D_SAE)}, tmp_path / "sae.pt")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.open_sae(tmp_path / "sae.pt")


# --- PatchSAE -------------------------------------------------------------------------


def test_gated_patchsae(tmp_path, weights):
    torch.save({"cfg": {"gated_sae": True}, "state_dict": weights}, tmp_path / "sae.pt")
    with pytest.raises(CheckpointError, match="is a gated SAE"):
        checkpoints.open_sae(tmp_path / "sae.pt")


def test_settings_that_make_no_sense(tmp_path, weights):
    config = {"block_layer": "the last but one"}
    torch.save({"cfg": config, "state_dict": weights}, tmp_path / "sae.pt")
    with pytest.raises(CheckpointError, match="settings or tensors that do not fit"):
        checkpoints.open_sae(tmp_path / "sae.pt")


def test_an_unknown_format(tmp_path, weights):
    save_file(
        {"W_enc": weights["W_enc"], "bias": weights["b_enc"]}, tmp_path / "x.safetensors"
    )
    with pytest.raises(CheckpointError, match="a format that is not known here"):
        checkpoints.open_sae(tmp_path / "x.safetensors")


# --- the libraries themselves, where they are installed --------------------------------


def test_overcomplete_itself(tmp_path, x):
    sae_module = pytest.importorskip("overcomplete.sae")
    theirs = sae_module.JumpSAE(D_IN, D_SAE)
    theirs(x.flatten(0, 1))
    torch.save(theirs.eval().state_dict(), tmp_path / "sae.pt")
    with torch.no_grad():
        expected = theirs.encode(x.flatten(0, 1))[1].view(2, 9, D_SAE)
    assert_encodes(tmp_path / "sae.pt", x, expected)


def test_saelens_itself(tmp_path, x):
    sae_lens = pytest.importorskip("sae_lens")
    config = sae_lens.TopKSAEConfig(d_in=D_IN, d_sae=D_SAE, k=K)
    theirs = sae_lens.TopKSAE(config)
    theirs.b_dec.data.normal_()
    theirs.save_model(tmp_path / "sae")
    with torch.no_grad():
        assert_encodes(tmp_path / "sae", x, theirs.encode(x))
