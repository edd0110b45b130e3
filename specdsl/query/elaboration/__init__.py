"""From a `Spec` and its files to queries: what every expression means, claim by claim."""
