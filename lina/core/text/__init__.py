"""Texts: validation, sentences, pauses."""
