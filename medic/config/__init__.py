"""The environment, read once into frozen `Settings`, with every fault in one message."""
