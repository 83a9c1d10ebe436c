"""The HTTP API: routes, what they accept, and one table of refusals."""
