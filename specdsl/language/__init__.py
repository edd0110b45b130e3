"""From text to a typed `Spec`: grammar, parser, syntax tree, printer, names, types."""
