"""The explorer, and what stands in for it: one text, or one trace, and what is retained of it."""
