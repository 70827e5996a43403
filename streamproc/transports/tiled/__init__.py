"""Result runs in a Tiled catalog: read back, and stored beside the raw runs."""
