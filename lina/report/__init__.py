"""Displays of a run, all hook plugins: progress bars, TensorBoard and report.html."""
