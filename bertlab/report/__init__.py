"""What a run leaves behind: facts first (numbers, predictions, provenance), then what is drawn from them."""
