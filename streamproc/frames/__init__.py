"""Frames: from documents to requests, from requests to pixels, one reader per storage form."""
