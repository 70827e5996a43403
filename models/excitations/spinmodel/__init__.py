"""Spin models: lattice, spins, couplings and their free parameters, as `model.toml` states them."""
