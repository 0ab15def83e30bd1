"""Initialization from other weights: runs, foreign checkpoints, LoRA."""
