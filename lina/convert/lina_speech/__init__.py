"""Checkpoints of lina-speech (beta, 2024), the predecessor of lina: names, sizes and files."""
