"""Work in processes of its own, so that what goes wrong there costs that work alone."""
