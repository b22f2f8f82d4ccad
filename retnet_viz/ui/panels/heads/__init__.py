"""All heads at once: a picture of what each reads, its half-life and its share."""
