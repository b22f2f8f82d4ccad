"""The pages: each composes panels, and says what a selection changes."""
