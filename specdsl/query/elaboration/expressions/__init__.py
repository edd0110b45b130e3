"""From expressions of the language to their values, operator by operator."""
