{
  lib,
  stdenv,
  installShellFiles,
  python3Packages,
  git,
  nix,
}:

python3Packages.buildPythonApplication {
  pname = "prefetch";
  version = "0.1.0";
  pyproject = true;

  src = lib.cleanSource ./.;

  build-system = [ python3Packages.hatchling ];

  nativeBuildInputs = [ installShellFiles ];

  dependencies =
    with python3Packages;
    [
      aiofiles
      aiohttp
      brotli
      httpx
      pynacl
      pycurl
      tqdm
      typer
    ]
    ++ lib.optional (pythonOlder "3.14") backports-zstd;

  # A user's own nix and git come first; these are for a search path that has none.
  makeWrapperArgs = [ "--suffix PATH : ${lib.makeBinPath [ git nix ]}" ];

  # The program prints its manual page and its completions itself, where it can run.
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    export PYTHONPATH="$out/${python3Packages.python.sitePackages}:$PYTHONPATH"
    python -m mirror man >prefetch.1
    installManPage prefetch.1
    for shell in bash fish zsh; do
      python -m mirror --show-completion "$shell" >"prefetch.$shell"
    done
    installShellCompletion prefetch.bash prefetch.fish prefetch.zsh
  '';

  nativeCheckInputs = with python3Packages; [
    hypothesis
    pytest-asyncio
    pytest-timeout
    pytestCheckHook
  ];

  # The formats and the planner are checked here; what needs a Nix store of its own is checked by
  # `make check`, outside the build sandbox.
  enabledTestPaths = [
    "tests/formats"
    "tests/planning"
  ];
  disabledTestMarks = [ "nix" ];

  pythonImportsCheck = [ "mirror" ];

  meta = {
    description = "Nix source-and-dependency prefetch mirror";
    license = lib.licenses.mit;
    mainProgram = "prefetch";
    platforms = lib.platforms.linux;
  };
}
