"""Lattice defects: exact physics of faults and dislocations, and what a powder pattern says of them."""
