"""A trained model's report: the evidence, what it amounts to, and the same as HTML and PDF."""
