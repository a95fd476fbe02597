"""Keeps the interface fluid, and whole, while a job loads libraries and computes.

Two things freeze a Python GUI although the work runs in another thread, because both hold
the interpreter's lock: the full passes of the garbage collector, which an import of
thousands of objects sets off again and again (0.2 s each beside a napari window), and the
loading of torch's shared libraries (0.3 s). And a collection that falls into a worker's
thread takes apart Qt objects that belong to the GUI's, which can bring down napari.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
from pathlib import Path

_held = 0
_was_enabled = True


def hold_collections() -> None:
    """Hold back automatic garbage collection; `collect_young` stands in for it.

    Once for each `release_collections`, both on the GUI thread: where collection is let go
    on, the next one happens.
    """
    global _held, _was_enabled
    if _held == 0:
        _was_enabled = gc.isenabled()
        gc.disable()
    _held += 1


def release_collections() -> None:
    """Let automatic garbage collection go on when nobody holds it back any more."""
    global _held
    _held -= 1
    if _held == 0 and _was_enabled:
        gc.enable()


def collect_young() -> None:
    """Collect young objects in the calling thread; full passes wait."""
    young, middle, _ = gc.get_count()
    often, seldom, _ = gc.get_threshold()
    if young > often:
        gc.collect(1 if middle > seldom else 0)


def preload_torch() -> None:
    """Map the shared libraries of torch without holding the interpreter's lock.

    A C call through ctypes lets other threads run, an import does not. Where this cannot
    be done nothing is lost: the import that follows loads them.

    Triton's library carries its own LLVM. After a software OpenGL driver (Mesa) has
    brought another one into the process, its symbols would be bound to that one, and
    importing torchvision crashes the interpreter; ``RTLD_DEEPBIND`` keeps them apart.
    """
    if os.name != "posix":
        return
    suffix = "dylib" if sys.platform == "darwin" else "so"
    for name in ("c10", "torch_cpu", "torch", "torch_python"):
        _map("torch", f"lib/lib{name}.{suffix}", os.RTLD_GLOBAL)
    _map("triton", "_C/libtriton*.so", getattr(os, "RTLD_DEEPBIND", 0))


def _map(package: str, pattern: str, flags: int) -> None:
    """Map the libraries of a package that is installed and not imported yet."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype = ctypes.c_void_p
    for library in Path(spec.origin).parent.glob(pattern):
        dlopen(os.fsencode(library), os.RTLD_NOW | flags)
