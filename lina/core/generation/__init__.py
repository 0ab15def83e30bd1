"""Decoding: sampling, attention window, repetition, guidance, and the loop over frames."""
