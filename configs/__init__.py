"""Configurations: `common.py` holds every key, its default and what it means; the others change only what differs."""
