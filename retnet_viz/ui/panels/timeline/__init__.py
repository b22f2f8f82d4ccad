"""The three modes side by side, on one clock."""
