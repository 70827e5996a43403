"""S(Q,E) maps: container, simulation of measured maps, least-squares fits, and the network's inputs."""
