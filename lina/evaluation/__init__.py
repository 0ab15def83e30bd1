"""Evaluation of voices: synthesis of text sets, transcription, metrics, and comparison with recordings."""
