"""Networks and expressions as a graph of ops; evaluation, rewrites, import and export."""
