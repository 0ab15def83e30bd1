"""Built-in corpus readers: recordings with their texts. They enter by the same doors as anyone's."""
