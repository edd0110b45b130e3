"""From a claim to the question a backend is asked."""
