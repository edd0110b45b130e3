"""What a loop needs besides: data, a clock, steps, a log, checkpoints, selection."""
