"""Conversion of other systems' checkpoints into runs; all knowledge of those systems is in this package."""
