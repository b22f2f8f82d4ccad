"""Traces and texts in files."""
