"""Tiny models that learn tasks, and the logs of larger ones that learned from text."""
