"""What is minimised, and what is kept below a bound."""
