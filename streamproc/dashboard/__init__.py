"""Views of result topics: ordinary consumers, which can neither slow nor stop the analysis."""
