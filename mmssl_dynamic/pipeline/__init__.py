"""All of SDR in one command, and the steps of it that the demos share."""
