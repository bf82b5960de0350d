"""Engines: kernels on raw arrays, one package per kind of array."""
