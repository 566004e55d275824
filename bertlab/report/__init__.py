"""What a run leaves behind: results, predictions, provenance, plots, page and model card."""
