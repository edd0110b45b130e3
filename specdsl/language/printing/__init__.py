"""Syntax tree to text: the canonical form, and an indented dump."""
