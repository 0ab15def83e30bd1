"""Built-in codecs: audio to codes and back. They use the same entry points as third-party ones."""
