"""What the recurrent state holds, and what is left in it of each token."""
