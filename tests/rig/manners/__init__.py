"""How HTTP servers behave, good and bad: each with the bytes that it answers.

Each behaviour is met by curl, as nixpkgs' fetchurl runs it, and by the project's client: the tables
here say what comes of it, and where the two part, why.
"""
