"""Write events in the wire formats of clients, one per file."""
