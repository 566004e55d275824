"""The Trainer and what it runs on: loss, sampling, precision, checkpoints, resuming, the output folder."""
