"""What importing costs, and that nothing but the widgets needs a viewer."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import napari_cytosae

HEAVY = ("torch", "timm", "scipy", "pandas", "skimage", "sklearn", "anndata")
GRAPHICAL = ("napari", "qtpy", "superqt", "magicgui", "PySide6", "PyQt6", "PyQt5")


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    report = """
import sys
print(*{name.partition(".")[0] for name, module in sys.modules.items() if module})
"""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import napari_cytosae; dir(napari_cytosae)",
        "import sys, napari_cytosae.__main__ as m\n"
        "sys.argv = ['napari-cytosae', '--help']\n"
        "try: m.main()\nexcept SystemExit: pass",
        "import sys, napari_cytosae.__main__ as m\n"
        "sys.argv = ['napari-cytosae', 'models', 'list']\n"
        "try: m.main()\nexcept SystemExit: pass",
        "import napari_cytosae.core.registry, napari_cytosae.session, napari_cytosae.demo",
    ],
    ids=["package", "help", "models list", "start-up modules"],
)
def test_start_up_loads_nothing_heavy(code: str) -> None:
    assert loaded_by(code) & {*HEAVY, *GRAPHICAL, "requests"} == set()


def test_everything_but_the_widgets_works_without_a_viewer() -> None:
    """Each module is imported where napari and Qt cannot be."""
    code = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({GRAPHICAL!r}))  # None: cannot be imported
import napari_cytosae
seen = 0
for module in pkgutil.walk_packages(napari_cytosae.__path__, "napari_cytosae."):
    if not module.name.startswith("napari_cytosae.widgets"):
        importlib.import_module(module.name)
        seen += 1
assert seen > 30, seen
from napari_cytosae.demo import can_show
assert not can_show()
"""
    assert loaded_by(code) & set(GRAPHICAL) == set()


def test_every_public_name_is_there() -> None:
    for name in napari_cytosae.__all__:
        assert getattr(napari_cytosae, name) is not None
    assert set(napari_cytosae.__all__) <= set(dir(napari_cytosae))


def test_every_command_of_the_manifest_imports() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_distribution("napari-cytosae")
    for command in manifest.contributions.commands:
        module, _, attribute = command.python_name.partition(":")
        assert callable(getattr(import_module(module), attribute))
