"""A running guest: its console, its slots, and what becomes of one that is lost."""
