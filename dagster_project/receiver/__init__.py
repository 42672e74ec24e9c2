"""The live end of the usage feed: an OTLP/HTTP endpoint whose files the `otlp_files` source reads."""
