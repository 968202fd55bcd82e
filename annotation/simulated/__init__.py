"""Studies with simulated raters, to plan one and to prove the rules."""
