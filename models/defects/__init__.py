"""Lattice defects from powder patterns: exact physics of faults and dislocations, and what a pattern says of them."""
