"""The journal on disk: frames, files, group commit."""
