"""Pictures of the T x T planes of long texts."""
