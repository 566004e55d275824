"""From argv and recipes to typed argument groups."""
