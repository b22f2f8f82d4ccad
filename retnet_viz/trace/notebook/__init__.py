"""A trace as a notebook uses it: as a table, as arrays with named axes, as a summary in HTML."""
