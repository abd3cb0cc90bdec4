"""The command line: each command parses flags, calls the API once and writes files. torch is imported on demand."""
