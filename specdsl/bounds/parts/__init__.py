"""Bounds on parts of a region, on which inner values lie in given intervals: beta-CROWN."""
