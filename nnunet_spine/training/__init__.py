"""What the trainers are made of: loss, loader, checkpoints, loop."""
