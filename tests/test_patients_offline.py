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


def test_patients_without_a_diagnosis_and_columns_that_tell_nothing_are_named(
    tmp_path: Path,
) -> None:
    made = barcodes()
    torn = replace(
        made,
        diagnosis=tuple("" if i in (0, 3) else d for i, d in enumerate(made.diagnosis)),
        others={
            "day": tuple(f"d{i // 2}" for i in range(12)),
            "scanner": tuple("ab"[i % 2] for i in range(12)),
        },
    )
    table = write(torn, tmp_path / "b.h5ad")
    result = run("train-head", table, "-o", tmp_path / "h.json", "--repeats", 1)
    assert result.exit_code == 0, result.stderr
    assert "2 patients have no diagnosis (p0, p3) and are left out." in result.stderr
    report = (tmp_path / "h.txt").read_text()
    assert "2 patients have no diagnosis (p0, p3) and are left out." in report
    assert "day: not tested, no two values with 3 patients" in report
    assert "scanner: predicted from the concepts for" in report
    assert "of 10 patients" in report


SETTINGS = {
    "threshold": 0.2,
    "include_cls": False,
    "cells": "segmentation",
    "field_of_view_um": 25.0,
}


@pytest.fixture(scope="module")
def strict_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that knows how the barcodes of its training were made."""
    folder = tmp_path_factory.mktemp("strict")
    made = barcodes()
    made = replace(made, record=made.record | {"parameters": SETTINGS})
    table = write(made, folder / "b.h5ad")
    run("train-head", table, "-o", folder / "h.json", "--repeats", 1)
    about = json.loads((folder / "h.json").read_text())["about"]
    assert {key: about[key] for key in SETTINGS} == SETTINGS
    return folder / "h.json"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("threshold", 0.5, "threshold 0.5, in training 0.2"),
        ("include_cls", True, "CLS token counted, in training not counted"),
        ("cells", "single cell", "how cells are found single cell, in training seg"),
        ("field_of_view_um", 20.0, "field of view 20.0 um, in training 25.0 um"),
    ],
)
def test_barcodes_made_otherwise_get_no_answer(
    strict_head: Path, tmp_path: Path, key: str, value: object, reason: str
) -> None:
    made = barcodes(seed=1)
    other = replace(made, record=made.record | {"parameters": SETTINGS | {key: value}})
    table, out = write(other, tmp_path / "b.h5ad"), tmp_path / "p.csv"
    result = run("predict", table, "--head", strict_head, "-o", out)
    assert result.exit_code == 0, result.stderr
    said = pd.read_csv(out)
    assert said["abstained"].all()
    assert said["reason"].str.contains(reason, regex=False).all()
    assert f"no answer for any patient: {reason}" in result.stderr


def test_what_could_not_be_checked_is_said_once(strict_head: Path, tmp_path: Path) -> None:
    made = barcodes(seed=1)
    bare = replace(made, record={}, n_cells=np.full(len(made), np.nan))
    table, out = write(bare, tmp_path / "b.h5ad"), tmp_path / "p.csv"
    result = run("predict", table, "--head", strict_head, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert not pd.read_csv(out)["abstained"].any()
    said = [line for line in result.stderr.splitlines() if "not checked" in line]
    assert len(said) == 1
    assert said[0].endswith(
        "SAE, threshold, CLS token, how cells are found, field of view, number of cells, "
        "focus, stain strength, stain hue, reconstruction error."
    )
    known = replace(made, record=made.record | {"parameters": SETTINGS})
    write(known, table)
    result = run("predict", table, "--head", strict_head, "-o", out)
    said = [line for line in result.stderr.splitlines() if "not checked" in line]
    assert said[0].split(": ")[-1].startswith("focus, stain strength")
