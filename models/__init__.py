"""Inverse models, one folder each: simulator, training, card and shipped versions."""
