"""The pages. They translate clicks into calls of the other rooms, and decide nothing themselves."""
