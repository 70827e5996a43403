"""Change points of a series: where a curve, or a sequence of patterns, begins to behave differently."""
