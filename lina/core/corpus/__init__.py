"""Manifests, for corpus plugins."""
