"""Maps keyed by motors: points, regions of like points with confidence, and their picture."""
