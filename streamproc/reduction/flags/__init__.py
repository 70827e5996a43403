"""Data flags: what is wrong with a reading, before any science. Arrays in, numbers and evidence out."""
