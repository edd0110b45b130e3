"""From cases to verdicts: programs of cases, solved until a replay or a bound settles them."""
