"""What a user chose, as values: in a link, in a file, and in the steps that undo goes back."""
