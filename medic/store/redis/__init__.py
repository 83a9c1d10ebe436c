"""Redis: what several Medics count together. Spoken to over trio, in its own protocol."""
