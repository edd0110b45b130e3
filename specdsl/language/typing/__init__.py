"""What every expression of the language is: its type, shape, unit and range."""
