"""Next-sentence prediction and masked language modeling on plain text."""
