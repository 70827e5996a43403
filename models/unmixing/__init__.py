"""Patterns taken apart into components without references: non-negative factorisation that tolerates shifts."""
