"""The panels: a Python class and its ES module each; the large ones have folders of their own."""
