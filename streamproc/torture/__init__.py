"""Torture: services killed, frozen and cut off while runs go on, and every frame counted afterwards."""
