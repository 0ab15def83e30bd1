"""Built-in backbones: causal streams over vectors. They use the same entry points as third-party ones."""
