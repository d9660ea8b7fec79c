"""How a plot travels: the conversation, the pipe, the digest, and publishing."""
