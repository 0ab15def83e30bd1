"""Losses, optimizers and learning-rate schedules: base classes of their plugins, and the inputs of losses."""
