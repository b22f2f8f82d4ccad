"""What all figures share: colours, scales, how tokens and numbers are written."""
