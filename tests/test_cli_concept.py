"""``concept`` and ``names`` on the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from napari_cytosae._sample_data import demo_smear
from napari_cytosae.cli import app
from napari_cytosae.core import pipeline
from napari_cytosae.core.catalogue import load
from napari_cytosae.core.concepts import ConceptNames
from napari_cytosae.core.images import read_image
from napari_cytosae.core.loading import load_models


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def smears(tmp_path_factory):
    """Two images with cells."""
    folder = tmp_path_factory.mktemp("smears")
    rgb = demo_smear().rgb
    Pillow.fromarray(rgb).save(folder / "a.png")
    Pillow.fromarray(rgb[:, ::-1]).save(folder / "b.png")
    return folder


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def pair(weights):
    return [
        *("--backbone", weights / "vit.safetensors"),
        *("--sae", weights / "sae.safetensors"),
        *("--precision", "float32"),
    ]


def test_a_passport_says_what_the_cells_of_all_images_say(weights, smears, tmp_path):
    models = load_models(
        weights / "vit.safetensors", weights / "sae.safetensors", precision="float32"
    )
    strongest = []
    for name in ("a.png", "b.png"):
        job = pipeline.analyze_image(read_image(smears / name), models, keep_tokens=True)
        found = pipeline.run(job)
        values = found.encoded.activations.strongest(3)
        strongest += [
            (name, int(cell), float(value))
            for cell, value in zip(found.encoded.cell_ids, values, strict=True)
        ]
    page = tmp_path / "page.html"
    result = run("concept", 3, smears, "-o", page, *pair(weights))
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert "Concept 3 nuclear indent" in text
    shown = re.findall(r"<figcaption>(\S+), cell (\d+): ([\d.]+)<", text)
    expected = sorted((each for each in strongest if each[2] > 0), key=lambda e: -e[2])[:24]
    assert len(shown) == len(expected) > 2
    assert [float(value) for *_, value in shown] == pytest.approx(
        [value for *_, value in expected], abs=0.006
    )
    assert {(name, int(cell)) for name, cell, _ in shown} == {e[:2] for e in expected}
    assert f"of {len(strongest)}<" in text
    assert models.sae_info.sha256 in text


def test_without_images_it_says_what_catalogue_and_names_say(weights, smears, tmp_path):
    catalogue, page = tmp_path / "catalogue", tmp_path / "page.html"
    assert run("catalogue", "build", smears, "-o", catalogue, *pair(weights)).exit_code == 0
    models = load_models(weights / "vit.safetensors", weights / "sae.safetensors")
    ConceptNames(models.sae_info.sha256, models.names).set_note(3, "seen before")
    result = run("concept", 3, "-o", page, "--catalogue", catalogue, *pair(weights))
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert "seen before" in text
    assert f"{load(catalogue).describe(3).mean_act:.3g}" in text
    assert "Cells that drive it" not in text


def test_a_concept_has_a_class_before_there_is_an_image(data_dir):
    folder = data_dir / "cytosae_published"
    shown = run("catalogue", "show", folder, 10107)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("concept 10107: basophil (MLL23 10/10, Matek 9/10)\n")
    assert re.findall(r"^(MLL23|Matek|AML_Hehr)$", shown.stdout, re.M) == [
        *("MLL23", "Matek", "AML_Hehr")
    ]
    assert "no concept 49152" in run("catalogue", "show", folder, 49152).stderr


def test_a_pdf_is_printed_where_there_is_no_screen(weights, tmp_path):
    page = tmp_path / "page.pdf"
    command = [sys.executable, "-m", "napari_cytosae", "concept", "3", "-o", str(page)]
    done = subprocess.run(
        [*command, *map(str, pair(weights))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert page.read_bytes()[:5] == b"%PDF-"
    assert [path.name for path in tmp_path.glob("page*")] == ["page.pdf"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((64, "-o", "p.html"), "no concept 64"),
        ((3, "-o", "p.txt"), ".html or .pdf"),
        ((3, "-o", "p.html", "--stability"), "cells of one image"),
        ((3, "nowhere.png", "-o", "p.html"), "nowhere.png"),
    ],
)
def test_what_cannot_be_done_is_said(weights, arguments, said):
    result = run("concept", *arguments, *pair(weights))
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("p.html").exists()


def test_raters_are_compared(tmp_path):
    for rater, tags in {"Ann": ("a;b", "a", "c"), "Bo": ("b;a", "c", "c")}.items():
        rows = "".join(f"{concept},{said}\n" for concept, said in enumerate(tags))
        (tmp_path / f"{rater}.csv").write_text("concept,tags\n" + rows)
    files = [tmp_path / "Ann.csv", tmp_path / "Bo.csv"]
    result = run("names", "agreement", *files, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert re.search(r"Ann +Bo +3 +0.67 +0.50", result.stdout)
    tags = pd.read_csv(tmp_path / "out" / "agreement_by_tag.csv").set_index("tag")
    assert tags.loc["a", ["both", "only_a", "only_b", "neither"]].tolist() == [1, 1, 0, 1]
    # 2 of 3 agree, by chance 2/3 * 1/3 + 1/3 * 2/3 of them.
    assert tags.loc["a", "kappa"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    differ = pd.read_csv(tmp_path / "out" / "disagreements.csv")
    assert differ.to_numpy().tolist() == [[1, "a", "c"]]
    alone = run("names", "agreement", files[0])
    assert (alone.exit_code, alone.stderr) == (2, "Only Ann rated: give two files.\n")
