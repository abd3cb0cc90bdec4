"""Impasto learns a style from a folder of pictures and makes more pictures in it."""

__version__ = "0.1.0"
