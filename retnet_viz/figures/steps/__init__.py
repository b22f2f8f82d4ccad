"""One step of a mode: the equation with its numbers, and the pictures beside it."""
