"""Built-in tokenizers: text to ids. They enter by the entry points that anyone can use."""
