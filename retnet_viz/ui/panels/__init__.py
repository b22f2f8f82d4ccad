"""One panel each: its Python class, and its ES module beside it."""
