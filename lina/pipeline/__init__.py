"""The two jobs, stage by stage."""
