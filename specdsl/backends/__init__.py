"""Ways of answering a query, one folder each."""
