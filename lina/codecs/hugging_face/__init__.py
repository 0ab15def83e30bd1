"""Codecs of the transformers package, with weights in its layout: Mimi and DAC."""
