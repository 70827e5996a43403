"""The demo: a simulated diffraction beamline, and the service at work on it."""
