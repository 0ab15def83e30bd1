"""Specs: schema, loading, messages, and the plugins that a spec names."""
