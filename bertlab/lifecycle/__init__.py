"""A run's folder: whose it is, what is saved, how a run ends and goes on."""
