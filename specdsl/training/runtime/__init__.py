"""What training scripts call: networks, claims, attacks, data, and the parts of a loop."""
