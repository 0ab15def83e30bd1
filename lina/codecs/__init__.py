"""Built-in codecs: audio to codes and back. They enter by the entry points that anyone can use."""
