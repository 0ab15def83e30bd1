"""The decode engine: one decode loop, for any language model of lina, over a fixed number of slots."""
