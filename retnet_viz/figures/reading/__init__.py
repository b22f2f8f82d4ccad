"""What is read of a text: weights, tokens, the next one, and what the parts of a layer do."""
