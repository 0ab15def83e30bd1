"""The delay-pattern language model and its parts."""
