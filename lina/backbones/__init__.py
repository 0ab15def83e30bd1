"""Built-in backbones: causal streams over vectors. They enter by the entry points that anyone can use."""
