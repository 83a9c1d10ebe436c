"""Pure: the hierarchical timing wheel, in integer ticks. Imports nothing of Medic."""
