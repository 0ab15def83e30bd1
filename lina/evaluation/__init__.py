"""How good a voice is, by numbers: texts spoken, heard, judged, and set beside recordings."""
