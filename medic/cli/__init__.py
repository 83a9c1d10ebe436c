"""The commands `medic` and `medic-cli`: arguments, output, exit codes. No decision is made here."""
