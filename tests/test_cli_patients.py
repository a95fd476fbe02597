"""Barcodes, heads and predictions from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from scipy.sparse import csr_array
from typer.testing import CliRunner

from napari_cytosae._sample_data import demo_smear
from napari_cytosae.cli import app
from napari_cytosae.core import cohort
from napari_cytosae.core._barcode_files import read_barcodes, write_barcodes
from napari_cytosae.core.builtin_head import SYNTHETIC, is_synthetic, open_head
from napari_cytosae.core.crops import crop_cells
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.patients import Barcodes, together
from napari_cytosae.core.segmentation import segment
from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from click.testing import Result

LATENTS = 64


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The white cells of the built-in smear, an image each."""
    folder = tmp_path_factory.mktemp("cells")
    smear = demo_smear().rgb
    paths = []
    for number, crop in enumerate(crop_cells(smear, segment(smear))):
        paths.append(folder / f"cell {number}.png")
        Pillow.fromarray(crop).save(paths[-1])
    return paths


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def options(weights: Path) -> list[str]:
    files = [str(weights / name) for name in ("vit.safetensors", "sae.safetensors")]
    return ["--backbone", files[0], "--sae", files[1], "--precision", "float32"]


def manifest(path: Path, *rows: str, head: str = "patient,image,diagnosis") -> Path:
    path.write_text("\n".join((head, *rows)) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("include_cls", [False, True])
def test_barcode_is_the_mean_count_of_tokens(
    weights: Path, cells: list[Path], tmp_path: Path, include_cls: bool
) -> None:
    rows = [f"{'AB'[i % 2]},{path},{'x' if i % 2 else ''}" for i, path in enumerate(cells)]
    listed = manifest(tmp_path / "m.csv", *rows)
    out = tmp_path / "b.h5ad"
    flags = ["--single-cell", *(["--include-cls"] if include_cls else [])]
    result = run("barcode", listed, "-o", out, *flags, *options(weights))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(out)
    table = anndata.read_h5ad(out)
    assert list(table.obs_names) == ["A", "B"]
    assert list(table.obs["diagnosis"]) == ["", "x"]
    assert list(table.var_names) == [str(i) for i in range(LATENTS)]
    models = load_models(
        weights / "vit.safetensors", weights / "sae.safetensors", "cpu", "float32"
    )
    for patient, start in (("A", 0), ("B", 1)):
        crops = [np.asarray(Pillow.open(path)) for path in cells[start::2]]
        f = models.latents(crops)
        over = (f if include_cls else f[:, 1:]) > 0.2
        expected = over.sum(axis=1).mean(axis=0)
        np.testing.assert_allclose(
            table[patient].X.toarray()[0], expected, rtol=1e-6, atol=1.01 / len(crops)
        )
        assert table.obs.loc[patient, "n_cells"] == len(crops)
    assert table.uns["cytosae"]["models"]["sae"]["sha256"]
    assert not cohort.partial_folder(out).exists()


def test_further_columns_of_a_manifest_stay_with_the_patients(
    weights: Path, cells: list[Path], tmp_path: Path
) -> None:
    days = ["Mon", "Tue", "Mon", "NA"]
    rows = [f"{'AB'[i % 2]},{path},x,{days[i]},1" for i, path in enumerate(cells[:4])]
    head = "patient,image,diagnosis,day,n_cells"
    listed = manifest(tmp_path / "m.csv", *rows, "A,nowhere.png,x,Wed,1", head=head)
    out = tmp_path / "b.h5ad"
    result = run("barcode", listed, "-o", out, "--single-cell", *options(weights))
    assert "nowhere.png" in result.stderr
    made = read_barcodes(out)
    assert made.others == {"day": ("Mon", "Tue")}
    assert list(made.n_cells) == [2, 2]
    both = together([made.rows([1]), replace(made.rows([0]), others={})])
    assert both.others == {"day": ("Tue", "")}


def test_smears_and_bad_rows(weights: Path, tmp_path: Path) -> None:
    Pillow.fromarray(demo_smear().rgb).save(tmp_path / "smear.png")
    Pillow.new("RGB", (300, 300), (230, 225, 230)).save(tmp_path / "empty.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    listed = manifest(
        tmp_path / "m.csv",
        "A,smear.png,x",
        "A,nowhere.png,x",
        "B,empty.png,",
        "A,bad.png,",
        "A,./smear.png,",
        "C,smear.png,",
        ",smear.png,",
    )
    out = tmp_path / "b.h5ad"
    result = run("barcode", listed, "-o", out, *options(weights))
    assert result.exit_code == 2
    table = anndata.read_h5ad(out)
    assert list(table.obs_names) == ["A"]
    assert table.obs["n_images"].item() == 1
    assert table.obs["n_cells"].item() == len(segment(demo_smear().rgb))
    assert 0 <= table.obs["qc_share"].item() <= 1
    said = result.stderr
    for line, words in (
        (3, "there is no file"),
        (4, "no cells were found of patient B"),
        (5, "bad.png"),
        (6, "listed on line 2 already"),
        (7, "an image of patient A on line 2"),
        (8, "the patient is not named"),
    ):
        assert any(f"line {line}" in s and words in s for s in said.splitlines()), words
    assert "Traceback" not in said


def test_a_killed_run_goes_on_to_the_same_bits(
    weights: Path, cells: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cytosae.core._units.SINGLE_CELLS_AT_ONCE", 3)
    rows = [f"{'AB'[i > 5]},{path}," for i, path in enumerate(cells)]
    listed = cohort.read_manifest(manifest(tmp_path / "m.csv", *rows))
    models = load_models(
        weights / "vit.safetensors", weights / "sae.safetensors", "cpu", "float32"
    )
    settings = cohort.Settings(single_cell=True)

    def build(out: Path, stop: int | None = None) -> cohort.Barcodes | None:
        job = cohort.build(models, listed, out, settings)
        while True:
            try:
                step = next(job)
            except StopIteration as finished:
                return finished.value
            if stop is not None and step.done >= stop:
                job.close()
                return None

    whole = build(tmp_path / "whole.h5ad")
    assert build(tmp_path / "part.h5ad", stop=4) is None
    kept = sorted(cohort.partial_folder(tmp_path / "part.h5ad").iterdir())
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    encoded = []
    original = models.encode_batch
    monkeypatch.setattr(
        models,
        "encode_batch",
        lambda crops, *args, **kw: (
            encoded.append(len(crops)) or original(crops, *args, **kw)
        ),
    )
    resumed = build(tmp_path / "part.h5ad")
    assert sum(encoded) == len(cells) - 3  # the damaged unit is done again
    assert whole is not None
    assert resumed is not None
    for name in ("values", "low", "high"):
        a, b = getattr(whole, name), getattr(resumed, name)
        assert (a != b).nnz == 0
    np.testing.assert_array_equal(whole.n_cells, resumed.n_cells)
    assert whole.n_cells.sum() == len(cells)


def test_counts_of_the_reference_s_code(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).random((4, 30)).astype(np.float64)
    counts[2, 5] = np.nan
    np.save(tmp_path / "cls_sae_cnt.npy", counts)
    (tmp_path / "names.txt").write_text("P1\nP2\nP3\nP4\n")
    out = tmp_path / "b.h5ad"
    args = ("--from-counts", tmp_path / "cls_sae_cnt.npy", "--names")
    result = run("barcode", *args, tmp_path / "names.txt", "-o", out)
    assert result.exit_code == 2
    assert "row 3: patient P3" in result.stderr
    table = anndata.read_h5ad(out)
    assert list(table.obs_names) == ["P1", "P2", "P4"]
    np.testing.assert_allclose(table.X.toarray(), counts[[0, 1, 3]].astype(np.float32))
    assert bool(table.uns["cytosae"]["parameters"]["include_cls"])
    assert "divided by the number of latents" in result.stderr
    (tmp_path / "names.txt").write_text("P1\nP2\n")
    result = run("barcode", *args, tmp_path / "names.txt", "-o", out)
    assert result.exit_code == 2
    assert "names 2 patients" in result.stderr
    np.save(tmp_path / "cls_sae_cnt.npy", np.array([{}], dtype=object), allow_pickle=True)
    result = run("barcode", *args, tmp_path / "names.txt", "-o", out)
    assert result.exit_code == 2
    assert "Python objects" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("person,image\nA,x.png\n", "needs the columns patient and image"),
        ("patient,image\nA,x.png\n", "lists no image that can be used"),
        ("patient,image\n", "lists no image that can be used"),
    ],
)
def test_manifests_of_no_use(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    result = run("barcode", tmp_path / "m.csv", "-o", tmp_path / "b.h5ad")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args", [[], ["m.csv", "--from-counts", "c.npy"], ["--names", "n"]]
)
def test_barcode_usage(args: list[str]) -> None:
    result = run("barcode", *args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


# --- train-head and predict -----------------------------------------------------------


def cohort_file(path: Path, n: int = 10, sae: str = "abc", **record: object) -> Path:
    """Two classes, 200 concepts, the first tenth raised in one of them."""
    rng = np.random.default_rng(0)
    means = np.ones((2 * n, 200))
    means[n:, :20] = 4
    made = Barcodes(
        tuple(f"p{i}" for i in range(2 * n)),
        csr_array(rng.poisson(means).astype(np.float32)),
        np.arange(200),
        np.full(2 * n, 100.0),
        np.ones(2 * n),
        np.ones(2 * n),
        tuple(["AML-NPM1"] * n + ["SCD, healthy"] * n),
        record={"models": {"sae": {"sha256": sae}}, "parameters": {"threshold": 0.2}}
        | record,
    )
    write_barcodes(made, path)
    return path


def test_head_and_predictions(tmp_path: Path) -> None:
    barcodes = cohort_file(tmp_path / "b.h5ad")
    head, out = tmp_path / "head.json", tmp_path / "predictions.csv"
    result = run("train-head", barcodes, "-o", head, "--repeats", 1)
    assert result.exit_code == 0, result.stderr
    assert "weighted F1" in result.stdout
    assert result.stderr == ""
    assert (tmp_path / "head.png").is_file()
    assert "weighted F1" in (tmp_path / "head.txt").read_text()
    content = json.loads(head.read_text())
    assert content["about"]["scores"]["overall"]["weighted F1"][0] > 0.8
    assert content["about"]["threshold"] == 0.2
    result = run("predict", barcodes, "--head", head, "-o", out)
    assert result.exit_code == 0, result.stderr
    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines[0] == (
        'patient,predicted,p_AML-NPM1,"p_SCD, healthy",abstained,reason,n_cells,note'
    )
    table = pd.read_csv(out)
    assert (table["predicted"] == ["AML-NPM1"] * 10 + ["SCD, healthy"] * 10).all()
    assert set(table["n_cells"]) == {100}
    assert table["note"].str.startswith("Research use only").all()
    assert "true" in lines[1] or "false" in lines[1]
    other = cohort_file(tmp_path / "other.h5ad", sae="def")
    result = run("predict", other, "--head", head, "-o", out)
    assert result.exit_code == 2
    assert "another SAE" in result.stderr
    assert result.stderr.count("\n") == 1


def test_drawn_patients_are_called_so_in_all_that_is_made_of_them(tmp_path: Path) -> None:
    barcodes = cohort_file(tmp_path / "b.h5ad", note=SYNTHETIC)
    head, out = tmp_path / "head.json", tmp_path / "predictions.csv"
    result = run("train-head", barcodes, "-o", head, "--repeats", 1)
    assert result.exit_code == 0, result.stderr
    for suffix in (".json", ".txt", ".svg"):
        assert SYNTHETIC in head.with_suffix(suffix).read_text(encoding="utf-8")
    assert is_synthetic(open_head(head))
    content = json.loads(head.read_text(encoding="utf-8"))
    content["about"]["note"] = RESEARCH_USE
    head.write_text(json.dumps(content), encoding="utf-8")
    for trained in (head, "synthetic"):
        run("predict", barcodes, "--head", trained, "-o", out)
        assert set(pd.read_csv(out)["note"]) == {SYNTHETIC}
        out.unlink()
        barcodes = starter_barcodes(tmp_path / "s.h5ad")
    result = run(
        "compare", cohort_file(tmp_path / "b.h5ad", note=SYNTHETIC), "-o", tmp_path
    )
    assert result.exit_code == 0, result.stderr
    assert set(pd.read_csv(tmp_path / "disease_concepts.csv")["note"]) == {SYNTHETIC}
    assert SYNTHETIC in (tmp_path / "similarity.svg").read_text(encoding="utf-8")
    assert set(pd.read_csv(tmp_path / "similarity.csv")["note"]) == {SYNTHETIC}


def starter_barcodes(path: Path) -> Path:
    """A patient as the built-in head's mean ones, not said to be drawn."""
    head = open_head("synthetic")
    assert head.profiles is not None
    made = Barcodes(
        ("p",),
        csr_array(head.profiles.means[:1].astype(np.float32)),
        head.concepts,
        *(np.ones(1) * n for n in (100, 1, 1)),
        ("",),
        record={"models": {"sae": {"sha256": head.sae_sha256}}},
    )
    write_barcodes(made, path)
    return path


def test_diagnoses_from_a_table(tmp_path: Path) -> None:
    barcodes = cohort_file(tmp_path / "b.h5ad")
    rows = [f"p{i},{'x' if i < 10 else 'y'}" for i in range(19)]
    labels = manifest(
        tmp_path / "labels.csv",
        *rows,
        "p3,y",
        "gone,x",
        "p19,",
        "p19,NaN",
        "g2,x",
        "g3,x",
        "g4,x",
        head="patient,diagnosis",
    )
    head = tmp_path / "head.json"
    result = run("train-head", barcodes, "-o", head, "--diagnoses", labels, "--repeats", 1)
    assert result.exit_code == 2
    assert json.loads(head.read_text())["classes"] == ["x", "y"]
    for words in (
        "line 21: p3 has y here and x on line 5",
        "line 23: patient or diagnosis is empty",
        "no barcode of gone (line 22), g2 (line 25), g3 (line 26) and 1 more; left out",
        "line 24: the diagnosis of p19 is NaN, which means none",
        "SCD, healthy has too few patients (p19) and is left out",
    ):
        assert words in result.stderr, result.stderr
    manifest(labels, "q,x", head="patient,diagnosis")
    result = run("train-head", barcodes, "-o", head, "--diagnoses", labels)
    assert result.exit_code == 2
    assert "names none of the patients" in result.stderr


def test_what_is_no_head_or_no_barcodes_is_refused(tmp_path: Path) -> None:
    barcodes = cohort_file(tmp_path / "b.h5ad")
    for args, words in (
        (("predict", barcodes, "--head", barcodes), "is no head.json"),
        (("predict", barcodes, "--head", tmp_path / "none.json"), "cannot be read"),
        (("train-head", tmp_path / "none.h5ad"), "There is no file"),
    ):
        result = run(*args, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_patients_are_compared(tmp_path: Path) -> None:
    barcodes, out = cohort_file(tmp_path / "b.h5ad"), tmp_path / "out"
    result = run("compare", barcodes, "-o", out, "--top", 12)
    assert result.exit_code == 0, result.stderr
    names = ["similarity.csv", "disease_concepts.csv", "similarity.svg"]
    assert result.stdout.split() == [str(out / name) for name in names]
    table = pd.read_csv(out / "similarity.csv")
    assert list(table.columns[:2]) == ["patient", "diagnosis"]
    assert list(table["patient"]) == list(table.columns[2:])
    beside = [a == b for a, b in pairwise(table["diagnosis"])]
    assert sum(beside) >= 16, "the alike are not side by side"
    root = np.sqrt(anndata.read_h5ad(barcodes)[list(table["patient"])].X.toarray())
    expected = np.corrcoef(root / np.linalg.norm(root, axis=1, keepdims=True))
    np.testing.assert_allclose(table.iloc[:, 2:].to_numpy(), expected, atol=1e-6)
    concepts = pd.read_csv(out / "disease_concepts.csv")
    of_healthy = concepts[concepts["diagnosis"] == "SCD, healthy"]
    assert len(of_healthy) == 12
    assert set(of_healthy["concept"]) <= set(range(20))
    assert concepts["note"].str.startswith("Research use only").all()
    drawn = ElementTree.parse(out / "similarity.svg").getroot()
    labels = [text.text for text in drawn.findall("{*}text")]
    assert labels[1:-1] == [f"{p} ({d})" for p, d in table.iloc[:, :2].to_numpy()]
    assert labels[-1].startswith("Research use only")


def test_patients_of_one_diagnosis_have_a_map_alone(tmp_path: Path) -> None:
    barcodes = cohort_file(tmp_path / "b.h5ad")
    rows = [f"p{i},x" for i in range(20)]
    labels = manifest(tmp_path / "labels.csv", *rows, ",x", head="patient,diagnosis")
    out = tmp_path / "out"
    result = run("compare", barcodes, "-o", out, "--diagnoses", labels)
    assert result.exit_code == 2
    assert "fewer than two diagnoses" in result.stderr
    assert "line 22: patient or diagnosis is empty" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "similarity.csv",
        "similarity.svg",
    ]


@pytest.mark.parametrize("command", ["barcode", "train-head", "predict", "compare"])
def test_help_is_plain_text(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert result.stdout.isascii()
