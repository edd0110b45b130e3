"""Points at which a property holds badly."""
