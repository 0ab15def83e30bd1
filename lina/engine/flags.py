"""Flags of a decode step, by their place among its outputs. Imports no torch."""

FLAGS = range(5)
COMPLETE, SPEAKING, STOPPED, ENDED_BY_WINDOW, FINISHED = FLAGS
"""A frame is complete; codebook 0 emitted a code, so the attention belongs to a frame; the stream has ended by itself;
the window has ended it; all its frames are complete."""
