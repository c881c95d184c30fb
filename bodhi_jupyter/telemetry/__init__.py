"""What happened: metrics, the ledger, events, recent failures."""
