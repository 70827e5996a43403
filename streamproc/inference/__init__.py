"""ONNX models: the card each carries, checked loading, batching, and where to find them."""
