"""What a person sees of a run: progress on the terminal, TensorBoard, and report.html. All are hook plugins."""
