"""What a call does next: decided without I/O, a clock or randomness of its own."""
