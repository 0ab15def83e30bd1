"""Built-in speech recognisers. They enter by the entry points that anyone can use."""
