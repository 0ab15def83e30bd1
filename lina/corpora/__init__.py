"""Built-in corpus readers: recordings with their texts. They use the same entry points as third-party readers."""
