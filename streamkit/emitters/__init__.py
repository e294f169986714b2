"""Events in the wire formats of clients, one file for each."""
