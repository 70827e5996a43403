"""Training of the networks that read S(Q,E) maps (torch only here)."""
