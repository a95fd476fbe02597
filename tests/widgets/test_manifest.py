"""The manifest names things that exist, and both places hold the same one."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from npe2 import PluginManifest

import napari_cytosae

PACKAGE = Path(napari_cytosae.__file__).parent
ROOT = Path(__file__).parents[2]


def test_every_command_can_be_imported():
    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml")
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name)), command.id


def test_the_plugin_is_found_and_named():
    manifest = PluginManifest.from_distribution("napari-cytosae")
    assert manifest.display_name == "CytoSAE"
    assert [w.display_name for w in manifest.contributions.widgets] == ["CytoSAE"]


def test_the_link_at_the_top_is_the_manifest():
    link = ROOT / "napari.yaml"
    assert link.read_text("utf-8") == (PACKAGE / "napari.yaml").read_text("utf-8")


def test_patterns_are_narrow():
    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml")
    (reader,) = manifest.contributions.readers
    assert reader.filename_patterns == ["*.geojson"]
    assert not reader.accepts_directories
    (writer,) = manifest.contributions.writers
    assert writer.filename_extensions == [".geojson"]
    assert [str(kind) for kind in writer.layer_types] == ["labels"]
