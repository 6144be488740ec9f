"""Fixed outputs: which fetcher made each, and where its bytes come from upstream."""
