"""lina-speech (beta, 2024), from which lina was built: its checkpoints' names, sizes and files."""
