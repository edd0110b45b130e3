"""Text to syntax tree: grammar, parser, tree builders, friendly syntax errors."""
