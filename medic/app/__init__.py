"""The composition root: builds every part, opens the nurseries, drains in order."""
