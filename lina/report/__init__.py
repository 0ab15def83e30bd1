"""What a person sees of a run: progress bars, TensorBoard and report.html. All are hook plugins."""
