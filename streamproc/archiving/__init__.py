"""Archiving: result runs from their topic into Tiled, none lost, none twice."""
