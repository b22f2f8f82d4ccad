"""What experiments found: costs, rounding, learning, recall."""
