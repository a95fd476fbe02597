"""Keeps the interface fluid while a job loads libraries and computes.

Two things freeze a Python GUI although the work runs in another thread, because both hold
the interpreter's lock: the full passes of the garbage collector, which an import of
thousands of objects sets off again and again (0.2 s each beside a napari window), and the
loading of torch's shared libraries (0.3 s).
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEVER = 1_000_000
_lock = threading.Lock()
_active = 0
_thresholds = gc.get_threshold()


@contextmanager
def no_full_collections() -> Iterator[None]:
    """Hold back full garbage collections; young objects are still collected.

    Re-entrant and shared between threads: the last one to leave restores the thresholds.
    """
    global _active, _thresholds
    with _lock:
        if _active == 0:
            _thresholds = gc.get_threshold()
            gc.set_threshold(_thresholds[0], _thresholds[1], _NEVER)
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if _active == 0:
                gc.set_threshold(*_thresholds)


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
