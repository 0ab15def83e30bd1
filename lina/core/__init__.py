"""The framework: streams, their laws, the delay-pattern language model, data and training.

Core knows no plugin by name and imports no backend package; plugins import core.
"""
