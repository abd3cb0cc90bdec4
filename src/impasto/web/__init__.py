"""The studio: a local web page where all of it is done by hand."""
