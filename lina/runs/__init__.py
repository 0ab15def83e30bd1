"""Run directories: records, checkpoints, provenance, hooks."""
