"""Where streams come from: HTTP, recordings, and whatever else can be iterated."""
