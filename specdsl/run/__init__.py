"""From a path to a report: load, elaborate, answer, settle."""
