"""The mode at work: one step of its schedule at a time."""
