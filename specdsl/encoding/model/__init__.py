"""Models as arrays: rows and columns, what nodes are in them, what is known beside rows; files."""
