"""The decode step in onnxruntime: graphs without weights, which are given where a graph is loaded."""
