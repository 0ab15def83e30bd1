"""This process and its pool of workers."""
