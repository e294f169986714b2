"""Cassettes: HTTP exchanges of a test, recorded once through a proxy on this machine and replayed from then on."""
