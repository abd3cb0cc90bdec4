"""The studio: a local web page over a REST interface."""
