"""Numerics: no Qt, no napari, no threads, no globals."""
