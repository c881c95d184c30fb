"""Who may call, with which key, and how much."""
