# From nothing to a package: the bootstrap tools, the shell, the fetchers, and what builds packages.
{ system, pins, lib }:
let
  inherit (pins) origin;
  source = name: pins.sources.${name} // { url = origin + pins.sources.${name}.path; };

  proxies = [ "http_proxy" "https_proxy" "ftp_proxy" "all_proxy" "no_proxy" ];

  # Nix itself fetches these, so that there is something to fetch with.
  fetchurlBoot = { name, source, executable ? false, unpack ? false }: derivation {
    inherit name executable unpack;
    inherit (source) url;
    urls = [ source.url ];
    system = "builtin";
    builder = "builtin:fetchurl";
    outputHash = source.hash;
    outputHashMode = if unpack || executable then "recursive" else "flat";
    preferLocalBuild = true;
    impureEnvVars = proxies;
  };

  bootstrap = fetchurlBoot { name = "bootstrap-tools"; source = source "bootstrap-tools"; unpack = true; };

  # A derivation that `tools` (a tree with bin/sh) builds by `script`.
  build = { tools, script, ... }@attributes:
    derivation ({
      inherit system;
      builder = "${tools}/bin/sh";
      args = [ "-e" script "${tools}/bin" ./scripts/setup.sh ];
    } // removeAttrs attributes [ "tools" "script" ]);

  # What programs run on: a copy of the bootstrap tools that refers to nothing.
  busybox = build {
    name = "busybox-1.36";
    tools = bootstrap;
    script = ./scripts/run.sh;
    buildCommand = ''cp -r ${bootstrap} "$out"'';
  };

  curl = build {
    name = "curl-8.5";
    tools = bootstrap;
    script = ./scripts/run.sh;
    src = fetchurlBoot { name = "curl"; source = source "curl"; executable = true; };
    inherit busybox;
    buildCommand = ''
      mkdir -p "$out/bin"
      sed "s|@shell@|$busybox/bin/sh|; s|@wget@|$busybox/bin/wget|" "$src" >"$out/bin/curl"
      chmod +x "$out/bin/curl"
    '';
  };

  mirrors = {
    demo = "${origin}/dead/ ${origin}/files/";
    kernel = "${origin}/files/kernel/";
    hashedMirrors = "${origin}/hashed";
  };

  mirrorsList = build ({
    name = "mirrors-list";
    tools = busybox;
    script = ./scripts/write-mirrors.sh;
    sites = builtins.attrNames mirrors;
    preferLocalBuild = true;
  } // mirrors);

  fetchurl =
    { url ? null
    , urls ? [ url ]
    , name ? baseNameOf (builtins.head urls)
    , hash ? null
    , sha256 ? null
    , sha512 ? null
    , sha1 ? null
    , md5 ? null
    , executable ? false
    , recursive ? executable
    , downloadToTemp ? false
    , preferHashedMirrors ? false
    , postFetch ? ""
    , nativeBuildInputs ? [ ]
    , structured ? false
    }:
    build ({
      inherit name urls executable;
      tools = busybox;
      script = ./scripts/fetch.sh;
      nativeBuildInputs = [ curl ] ++ nativeBuildInputs;
      mirrorsFile = "${mirrorsList}";
      outputHashMode = if recursive then "recursive" else "flat";
      preferLocalBuild = true;
      impureEnvVars = proxies ++ [ "NIX_HASHED_MIRRORS" "NIX_CONNECT_TIMEOUT" ];
    }
    // lib.optionalAttrs structured { __structuredAttrs = true; }
    // lib.optionalAttrs (!structured) {
      inherit downloadToTemp postFetch preferHashedMirrors;
      curlOpts = "";
      showURLs = false;
    }
    // (
      if hash != null then { outputHash = hash; }
      else if sha256 != null then { outputHash = sha256; outputHashAlgo = "sha256"; }
      else if sha512 != null then { outputHash = sha512; outputHashAlgo = "sha512"; }
      else if sha1 != null then { outputHash = sha1; outputHashAlgo = "sha1"; }
      else { outputHash = md5; outputHashAlgo = "md5"; }
    ));

  # An archive's tree; `extraPostFetch` changes it after that.
  fetchzip = { url, name ? "source", hash, stripRoot ? true, extraPostFetch ? "" }: fetchurl {
    inherit name url hash;
    recursive = true;
    downloadToTemp = true;
    postFetch = ''
      unpackDir="$TMPDIR/unpack"
      mkdir "$unpackDir"
      cd "$unpackDir"

      renamed="$TMPDIR/${baseNameOf url}"
      mv "$downloadedFile" "$renamed"
      unpackFile "$renamed"

      chmod -R +w "$unpackDir"
    '' + (
      if stripRoot then ''
        if [ $(ls -A "$unpackDir" | wc -l) != 1 ]; then
          echo "error: zip file must contain a single entry at its top, or be one for stripRoot=false"
          exit 1
        fi

        fn=$(cd "$unpackDir" && ls -A)
        if [ -f "$unpackDir/$fn" ]; then
          mkdir $out
        fi
        mv "$unpackDir/$fn" "$out"
      '' else ''
        mv "$unpackDir" "$out"
      ''
    ) + ''
      ${extraPostFetch}
      chmod 755 "$out"
    '';
  };

  # The forge gives each revision as a tar archive; see scripts/fetch-git.sh.
  nix-prefetch-git = build {
    name = "nix-prefetch-git";
    tools = busybox;
    script = ./scripts/run.sh;
    inherit busybox curl;
    buildCommand = ''
      echo "#!$busybox/bin/sh" >"$out"
      echo "exec $curl/bin/curl \"\''${1%.git}/\$2.tar\" \"\$3\"" >>"$out"
      chmod +x "$out"
    '';
  };

  fetchgit = { url, rev, hash, name ? "source" }: build {
    inherit name url rev;
    tools = busybox;
    script = ./scripts/fetch-git.sh;
    fetcher = nix-prefetch-git;
    nativeBuildInputs = [ curl ];
    leaveDotGit = false;
    deepClone = false;
    fetchSubmodules = false;
    fetchLFS = false;
    sparseCheckout = "";
    outputHash = hash;
    outputHashMode = "recursive";
    preferLocalBuild = true;
    impureEnvVars = proxies ++ [ "GIT_PROXY_COMMAND" "SOCKS_SERVER" ];
  };

  mkDerivation = { pname, version, nativeBuildInputs ? [ ], ... }@attributes:
    let
      drv = build ({
        name = "${pname}-${version}";
        tools = busybox;
        script = ./scripts/build.sh;
      } // attributes // { nativeBuildInputs = map lib.getDev nativeBuildInputs; });
    in
    drv // { inherit pname version; };

  # What is of one machine: no cache has it, and it is quicker to make than to ask for.
  runCommandLocal = name: { tools ? [ ], ... }@attributes: buildCommand:
    build ({
      inherit name buildCommand;
      tools = busybox;
      script = ./scripts/run.sh;
      nativeBuildInputs = tools;
      preferLocalBuild = true;
      allowSubstitutes = false;
    } // removeAttrs attributes [ "tools" ]);

  writeText = name: text:
    runCommandLocal name { inherit text; } ''printf '%s\n' "$text" >"$out"'';
in
{
  inherit source bootstrap busybox curl mirrorsList nix-prefetch-git;
  inherit fetchurlBoot fetchurl fetchzip fetchgit mkDerivation runCommandLocal writeText;
}
