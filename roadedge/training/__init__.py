"""Training: recipe, batches, losses, loop, pictures."""
