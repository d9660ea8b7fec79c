"""Who is told: messages, the ways by which they go, and the outbox that none of them gets lost in."""
