"""Fused GPU forms of the operators, each in a module named as its reference in ``lina.core.ops``."""
