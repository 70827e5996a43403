"""Inelastic scattering: spectra and S(Q,E) maps, and what is read from them."""
