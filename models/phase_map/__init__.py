"""The network that reads phase fractions from a powder pattern, and the way to one from CIF files."""
