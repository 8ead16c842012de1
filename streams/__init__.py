"""Correlation: chunks of events in, one stamped outbox record per inbox record out."""
