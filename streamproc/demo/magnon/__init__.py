"""The magnon experiment of the demo: a triple-axis spectrometer counts, point by point."""
