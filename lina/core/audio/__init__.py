"""Audio files and components of codecs."""
