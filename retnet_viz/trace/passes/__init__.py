"""The forward pass that is observed: what it published, and how an edit makes it go on."""
