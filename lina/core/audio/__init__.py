"""Audio files, and what codecs are built with."""
