"""What every model that draws S(Q,E) maps from a few parameters has in common."""
