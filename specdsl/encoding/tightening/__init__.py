"""Narrower intervals and further rows, from programs on what is known so far."""
