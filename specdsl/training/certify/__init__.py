"""What share of a data set is certified: batched bounds from cheap to tight."""
