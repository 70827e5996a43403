"""Spectra of damped harmonic oscillators: forward model, likelihood fits, simulator and network."""
