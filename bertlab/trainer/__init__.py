"""The Trainer: loss, batches, order, number format, optimizer."""
