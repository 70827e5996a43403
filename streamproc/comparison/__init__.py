"""Comparison: two models on the same frames."""
