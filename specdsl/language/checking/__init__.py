"""Syntax tree to `Spec`: every declaration, its settings and what must fit together."""
