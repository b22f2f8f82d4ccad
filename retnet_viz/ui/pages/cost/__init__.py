"""What generating costs: the page, its state, and its words."""
