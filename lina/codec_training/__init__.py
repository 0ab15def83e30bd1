"""Job codec: training any codec plugin that offers ``build_trainable``, from audio to the file its users load."""
