"""What a checkpoint that cannot be used raises."""


class CheckpointError(ValueError):
    """A checkpoint is refused; the message names the file, and the tensor if one is at fault."""
