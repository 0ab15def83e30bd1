"""Training of language models: steps, optimizer, packing, CUDA graphs, ranks, initialization."""
