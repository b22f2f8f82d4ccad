"""Training live: the page, its state, its words, the thread that trains, and the two views."""
