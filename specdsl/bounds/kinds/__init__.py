"""What bound propagation knows of each kind of nonlinear op; a new kind plugs in at `nonlinear`."""
