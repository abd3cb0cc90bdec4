"""The version of the package, for recipes and files to name without importing anything else."""

__version__ = "0.1.0"
