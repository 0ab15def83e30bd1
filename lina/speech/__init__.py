"""From text to audio with a trained model."""
