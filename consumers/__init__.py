"""Analyses, one file each; `streamproc check consumers/NAME.py` tries one."""
