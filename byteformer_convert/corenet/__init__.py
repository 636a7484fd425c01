"""What CoreNet wrote, read into types: its options (YAML or config.json) and its checkpoints."""
