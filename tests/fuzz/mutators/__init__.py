"""Changes to files that keep enough of their structure to get past the first guard."""
