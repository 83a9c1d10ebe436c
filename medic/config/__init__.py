"""Environment variables in, one frozen `Settings` out, or one error that names every fault."""
