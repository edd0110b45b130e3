"""VNN-LIB files as queries."""
