"""What the networks of every model share: folded ensembles, their ONNX graph, conformal quantiles."""
