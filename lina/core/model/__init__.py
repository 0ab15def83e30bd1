"""The delay-pattern language model and the parts that it is made of."""
