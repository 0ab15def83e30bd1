"""RWKV-6 and RWKV-7."""
