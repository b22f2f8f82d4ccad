"""The planes of a long text: small multiples that pan and zoom."""
