"""What the tests share: both versions of Nix, scratch stores, a namespace without a network."""
