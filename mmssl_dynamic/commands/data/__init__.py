"""Verbs that prepare and check data sets: ``mmssl-dynamic data VERB ...``."""
