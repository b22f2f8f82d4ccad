"""How fast models and the three modes run on this machine."""
