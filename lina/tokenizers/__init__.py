"""Built-in tokenizers, registered by the same entry points as third-party ones."""
