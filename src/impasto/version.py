"""The version of the package, for recipes and files to name without importing anything else."""

__version__ = "0.2.0.dev0"
