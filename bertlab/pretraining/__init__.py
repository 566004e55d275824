"""BERT's own two objectives on plain text: next sentences and masked words."""
