"""The commands of `python -m bertlab`."""
