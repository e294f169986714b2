"""Where streams go: the responses of web servers. Each module needs its framework, and is imported by who has it."""
