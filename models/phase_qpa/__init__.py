"""Quantitative phase analysis from one powder pattern: corundum, zincite, fluorite, brucite."""
