"""What is derived of a pass: observables, states, steps, costs."""
