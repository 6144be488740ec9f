"""The demo: a small distribution in Nix, its upstream on loopback, and the story told with both."""
