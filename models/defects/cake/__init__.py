"""Rings over azimuth (q-chi cakes): texture strength and grain statistics, drawn, trained and read."""
