"""From logits to scores, their intervals, and what they must beat."""
