"""Operators of linear attention: reference forms, and the choice between them and fused kernels."""
