"""Nothing leaves the machine, and bad input costs one row and one sentence."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

from napari_cytosae.cli import app
from napari_cytosae.core.patients import Barcodes

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

K = 40


def barcodes(n: int = 6, sae: str = "abc", seed: int = 0) -> Barcodes:
    rng = np.random.default_rng(seed)
    values = rng.gamma(5, 1, (2 * n, K)).astype(np.float32)
    values[n:, :5] *= 6
    return Barcodes(
        tuple(f"p{i}" for i in range(2 * n)),
        csr_array(values),
        np.arange(K),
        np.full(2 * n, 50.0),
        np.full(2 * n, 2.0),
        np.ones(2 * n),
        tuple("a" * n + "b" * n),
        record={"models": {"sae": {"sha256": sae}}},
    )


def write(made: Barcodes, path: Path) -> Path:
    from napari_cytosae.core._barcode_files import write_barcodes

    write_barcodes(made, path)
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head")
    result = run(
        "train-head",
        write(barcodes(), folder / "b.h5ad"),
        "-o",
        folder / "h.json",
        "--repeats",
        1,
    )
    assert result.exit_code == 0, result.stderr
    return folder / "h.json"


def test_a_prediction_opens_no_socket(
    head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    table = write(barcodes(seed=1), tmp_path / "b.h5ad")
    out = tmp_path / "p.csv"
    result = run("predict", table, "--head", head, "-o", out)
    assert result.exit_code == 0, (result.stderr, result.exception)
    assert len(pd.read_csv(out)) == 12


def test_a_patient_in_the_dock_opens_no_socket(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same functions that the panel drives, from the pixels to the answer."""
    from napari_cytosae._sample_data import demo_smear
    from napari_cytosae.core import case, reading
    from napari_cytosae.core.heads import Head, Part
    from napari_cytosae.core.images import as_image
    from napari_cytosae.core.loading import load_models
    from napari_cytosae.core.pipeline import run as through

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    models = load_models(weights / "vit.safetensors", weights / "sae.safetensors", "cpu")
    examined = through(case.examine(models, "P", [as_image(demo_smear().rgb, "smear")]))
    k = models.sae_info.d_sae
    part = Part("sqrt", np.eye(2, k), np.zeros(k))
    made = Head(
        ("a", "b"), np.arange(k), (part,), np.zeros(2), 0.2, np.full(k, k**-0.5), 1, 0, 1
    )
    assert through(reading.read(made, examined)).predicted in ("a", "b")


def test_nan_costs_one_patient(head: Path, tmp_path: Path) -> None:
    made = barcodes(seed=2)
    dense = made.values.toarray()
    dense[3, 7] = np.nan
    table = write(replace(made, values=csr_array(dense)), tmp_path / "b.h5ad")
    result = run("predict", table, "--head", head, "-o", tmp_path / "p.csv")
    assert result.exit_code == 2
    assert "row 4: patient p3 has values that are no counts" in result.stderr
    assert list(pd.read_csv(tmp_path / "p.csv")["patient"]) == [
        f"p{i}" for i in range(12) if i != 3
    ]


def test_a_head_for_another_sae_writes_nothing(head: Path, tmp_path: Path) -> None:
    table = write(barcodes(sae="def"), tmp_path / "b.h5ad")
    result = run("predict", table, "--head", head, "-o", tmp_path / "p.csv")
    assert result.exit_code == 2
    assert "another SAE" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "p.csv").exists()


def test_a_class_with_one_patient_is_left_out(tmp_path: Path) -> None:
    made = barcodes()
    rare = replace(made, diagnosis=("rare", *made.diagnosis[1:]))
    table = write(rare, tmp_path / "b.h5ad")
    result = run("train-head", table, "-o", tmp_path / "h.json", "--repeats", 1)
    assert result.exit_code == 2
    assert "rare has too few patients (p0) and is left out" in result.stderr
    assert json.loads((tmp_path / "h.json").read_text())["classes"] == ["a", "b"]


def test_ids_that_do_not_match(tmp_path: Path) -> None:
    table = write(barcodes(), tmp_path / "b.h5ad")
    labels = tmp_path / "labels.csv"
    labels.write_text("patient,diagnosis\nq1,a\nq2,b\n")
    result = run("train-head", table, "-o", tmp_path / "h.json", "--diagnoses", labels)
    assert result.exit_code == 2
    assert "names none of the patients" in result.stderr
    assert not (tmp_path / "h.json").exists()
    rows = [f"p{i},{'ab'[i > 5]}" for i in range(12)]
    labels.write_text("\n".join(["patient,diagnosis", *rows, "q1,a"]) + "\n")
    result = run(
        "train-head",
        table,
        "-o",
        tmp_path / "h.json",
        "--diagnoses",
        labels,
        "--repeats",
        1,
    )
    assert result.exit_code == 2
    assert (tmp_path / "h.json").exists()
    assert "labels.csv: no barcode of q1 (line 14); left out." in result.stderr


def test_a_batch_effect_is_warned_of(tmp_path: Path) -> None:
    """The concepts tell the scanner, which goes with the diagnosis; not the day."""
    made = barcodes(n=15, seed=3)
    table = write(made, tmp_path / "b.h5ad")
    rows = [
        f"p{i},{'ab'[i > 14]},{'old' if i < 14 else 'new'},{'MonTue'[i % 2 * 3 :][:3]}"
        for i in range(30)
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["patient,diagnosis,scanner,day", *rows]) + "\n")
    result = run(
        "train-head",
        table,
        "-o",
        tmp_path / "h.json",
        "--diagnoses",
        labels,
        "--repeats",
        1,
    )
    assert result.exit_code == 0, result.stderr
    warned = [line for line in result.stderr.splitlines() if "batch effect" in line]
    assert len(warned) == 1
    assert "scanner: predicted from the concepts for" in warned[0]
    assert "is that of 97%" in warned[0]
    assert "day: predicted" in (tmp_path / "h.txt").read_text()
