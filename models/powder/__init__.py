"""Physics of a powder pattern, shared by every model that reads one: structures, profiles, fits."""
