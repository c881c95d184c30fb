"""Who may call, and with which key."""
