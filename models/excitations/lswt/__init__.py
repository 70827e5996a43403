"""Linear spin-wave theory: energies and intensities of magnons of any commensurate magnetic structure."""
