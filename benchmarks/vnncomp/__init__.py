"""What `specdsl bench` came to, beside what other tools did on the same instances."""
