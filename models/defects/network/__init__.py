"""The network that reads defects from one pattern: priors, training library, training, release, reading."""
