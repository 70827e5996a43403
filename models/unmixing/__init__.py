"""Patterns taken apart into components without references: a factorisation that tolerates shifts."""
