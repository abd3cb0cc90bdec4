"""The command line: flags in, one call of the API, files out. Imports torch only where a command needs it."""
