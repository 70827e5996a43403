"""Excitation fits: phonons and magnons from spectra and S(Q,E) maps."""
