"""What may leave and what may not: rules, matchers, and the text that waits for their decision."""
