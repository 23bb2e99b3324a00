"""Configs. `common.py` holds every key, with its default and a comment. The other files change some keys."""
