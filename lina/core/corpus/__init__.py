"""Manifests: what corpus plugins are built with."""
