"""Checkpoints of other systems become runs. What another system was is known here and nowhere else."""
