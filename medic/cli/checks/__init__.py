"""What `medic doctor` looks at: a function a check. `medic.cli.doctor` has the table."""
