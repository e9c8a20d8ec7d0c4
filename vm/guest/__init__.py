"""What runs inside the machine: its pid 1, and what scenarios are made of."""
