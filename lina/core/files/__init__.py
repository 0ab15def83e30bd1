"""Files: atomic writing, checks before opening, names, and the two formats, JSON and tensors."""
