"""Input sets as torch sees them, and the least values of linear functions over them."""
