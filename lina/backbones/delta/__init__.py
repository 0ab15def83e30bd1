"""Backbones on the gated delta rule: Gated DeltaNet and Kimi Delta Attention."""
