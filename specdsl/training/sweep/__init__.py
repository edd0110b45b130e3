"""Many trainings of one block: which values to try, each trained and judged apart, their front."""
