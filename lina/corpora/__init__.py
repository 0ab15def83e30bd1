"""Built-in corpus readers: recordings with their texts. They enter by the entry points that anyone can use."""
