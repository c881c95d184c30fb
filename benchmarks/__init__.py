"""What a request and a streamed chunk cost, beside other proxies: ``python -m benchmarks``."""
