{ mkShell, python3, git, gnumake, prefetch }:

# `make setup` makes the virtual environment with the tools that pyproject.toml names.
mkShell {
  inputsFrom = [ prefetch ];
  packages = [
    python3
    git
    gnumake
  ];
}
