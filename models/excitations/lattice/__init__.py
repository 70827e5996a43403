"""Born-von Karman lattice dynamics: crystals, force constants, states, scattering, fits."""
