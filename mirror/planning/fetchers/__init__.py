"""Fixed outputs: which fetcher makes each, and where its bytes come from upstream."""
