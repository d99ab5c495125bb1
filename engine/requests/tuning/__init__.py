"""Tuning: a search for the best values of config keys by Optuna; its trials are ordinary runs."""
