"""The deformation experiment of the demo: copper is pulled while a strip detector takes its patterns."""
