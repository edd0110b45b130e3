"""Syntax tree to `Spec`: names, types, shapes, units, settings."""
