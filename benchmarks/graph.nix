# A system of as many packages as wanted, whose derivations have the shapes and sizes of nixpkgs' own.
#
# Each package has two sources and five to ten inputs among the packages before it, one of them close
# before, so that the graph is deep, too. The system's units and its path are made of packages, and
# must not be substituted. Nothing of it can be built.
{ packages }:
let
  system = "x86_64-linux";
  inherit (builtins) concatMap concatStringsSep elemAt genList hashString listToAttrs substring toFile;

  digits = listToAttrs (genList
    (value: { name = substring value 1 "0123456789abcdef"; inherit value; }) 16);
  # A number below `limit` (at most 4096) for a package and a purpose, always the same.
  below = limit: index: purpose:
    let
      hash = hashString "sha256" "${purpose} of ${toString index}";
      drawn = digits.${substring 0 1 hash} * 256 + digits.${substring 1 1 hash} * 16
        + digits.${substring 2 1 hash};
    in
    drawn - limit * (drawn / limit);

  setup = toFile "default-builder.sh" "source $stdenv/setup\ngenericBuild\n";
  strip = toFile "separate-debug-info.sh" "export NIX_SET_BUILD_ID=1\n";
  fetch = toFile "builder.sh" "source $stdenv/setup\nsource $mirrorsFile\ntryDownload\n";

  tool = name: outputs: inputs: derivation {
    inherit name outputs system inputs;
    builder = "/bin/sh";
    args = [ "-e" setup ];
  };
  bash = tool "bash-5.2p37" [ "out" ] [ ];
  stdenv = tool "stdenv-linux" [ "out" ] [ bash ];
  curl = tool "curl-8.12.1" [ "bin" "dev" "out" ] [ bash stdenv ];
  unzip = tool "unzip-6.0" [ "out" ] [ bash stdenv ];

  sites = [
    "alsa" "apache" "bioc" "bitlbee" "centos" "cpan" "cran" "debian" "fedora" "gcc" "gentoo" "gnome"
    "gnu" "gnupg" "hackage" "hashedMirrors" "ibiblioPubLinux" "imagemagick" "kde" "kernel" "luarocks"
    "maven" "mozilla" "mysql" "openbsd" "opensuse" "osdn" "postgresql" "pypi" "qt" "roy" "sageupstream"
    "samba" "savannah" "sourceforge" "steamrt" "tcsa" "ubuntu" "xfce" "xorg"
  ];
  mirrors = listToAttrs (map
    (site: {
      name = site;
      value = concatStringsSep " " (genList (n: "https://mirror-${toString n}.example.org/${site}/") 5);
    })
    sites);
  mirrorsList = derivation ({
    name = "mirrors-list";
    inherit system stdenv;
    builder = "${bash}/bin/bash";
    args = [ "-e" fetch ];
    preferLocalBuild = true;
  } // mirrors);

  proxies = [
    "http_proxy" "https_proxy" "ftp_proxy" "all_proxy" "no_proxy"
    "HTTP_PROXY" "HTTPS_PROXY" "FTP_PROXY" "ALL_PROXY" "NO_PROXY"
  ];

  # What nixpkgs' mkDerivation leaves in every environment.
  ordinary = {
    __structuredAttrs = false;
    buildInputs = "";
    cmakeFlags = "";
    configureFlags = "";
    depsBuildBuild = "";
    depsBuildBuildPropagated = "";
    depsBuildTarget = "";
    depsBuildTargetPropagated = "";
    depsHostHost = "";
    depsHostHostPropagated = "";
    depsTargetTarget = "";
    depsTargetTargetPropagated = "";
    doCheck = "";
    doInstallCheck = "";
    mesonFlags = "";
    patches = "";
    propagatedBuildInputs = "";
    propagatedNativeBuildInputs = "";
    strictDeps = "";
    inherit stdenv system;
    builder = "${bash}/bin/bash";
  };

  fetchurl = { name, urls, recursive ? false, tools ? [ ], postFetch ? "" }: derivation (ordinary // {
    inherit name urls postFetch;
    args = [ "-e" fetch ];
    SSL_CERT_FILE = "/no-cert-file.crt";
    curlOpts = "";
    curlOptsList = "";
    downloadToTemp = if recursive then "1" else "";
    executable = "";
    impureEnvVars = proxies
      ++ [ "NIX_CURL_FLAGS" "NIX_CONNECT_TIMEOUT" "NIX_SSL_CERT_FILE" "NIX_HASHED_MIRRORS" ]
      ++ map (site: "NIX_MIRRORS_${site}") sites;
    mirrorsFile = mirrorsList;
    nativeBuildInputs = [ curl.dev ] ++ tools;
    nixpkgsVersion = "25.05";
    outputHash = hashString "sha256" name;
    outputHashAlgo = "sha256";
    outputHashMode = if recursive then "recursive" else "flat";
    postHook = "";
    preferHashedMirrors = true;
    preferLocalBuild = true;
    showURLs = "";
  });

  fetchzip = { name, url }: fetchurl {
    inherit name;
    urls = [ url ];
    recursive = true;
    tools = [ unzip ];
    postFetch = ''
      unpackDir="$TMPDIR/unpack"
      mkdir "$unpackDir"
      cd "$unpackDir"

      renamed="$TMPDIR/${baseNameOf url}"
      mv "$downloadedFile" "$renamed"
      unpackFile "$renamed"
      chmod -R +w "$unpackDir"
      if [ $(ls -A "$unpackDir" | wc -l) != 1 ]; then
        echo "error: zip file must contain a single file or directory."
        echo "hint: Pass stripRoot=false; to fetchzip to assume flat list of files."
        exit 1
      fi
      fn=$(cd "$unpackDir" && ls -A)
      if [ -f "$unpackDir/$fn" ]; then
        mkdir $out
      fi
      mv "$unpackDir/$fn" "$out"

      chmod 755 "$out"
    '';
  };

  builtinFetchurl = { name, url }: derivation {
    inherit name url;
    urls = [ url ];
    system = "builtin";
    builder = "builtin:fetchurl";
    executable = false;
    unpack = false;
    outputHash = hashString "sha256" name;
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
    preferLocalBuild = true;
    impureEnvVars = proxies;
  };

  source = index: number:
    let
      label = "package-${toString index}";
      kind = below 20 index "kind ${toString number}";
      version = "${toString (below 30 index "major")}.${toString number}";
      site = elemAt [ "gnu" "sourceforge" "savannah" "pypi" "gnome" ] (below 5 index "site");
    in
    if kind < 8 then
      fetchurl { name = "${label}-${version}.tar.xz"; urls = [ "mirror://${site}/${label}/${label}-${version}.tar.xz" ]; }
    else if kind < 14 then
      fetchzip { name = "source-${label}-${version}"; url = "https://github.com/owner-${label}/${label}/archive/v${version}.tar.gz"; }
    else if kind < 19 then
      fetchurl {
        name = "fix-${label}-${version}.patch";
        urls = [ "https://git.example.org/${label}/commit/${hashString "sha1" label}.patch" ];
      }
    else
      builtinFetchurl { name = "${label}-${version}.bin"; url = "https://example.org/${label}/${version}.bin"; };

  package = index:
    let
      label = "package-${toString index}";
      earlier = purpose:
        let hash = below 4096 index purpose; in elemAt all (hash * index / 4096);
      near = elemAt all (index - 1 - below (if index < 40 then index else 40) index "near");
      others = genList (n: earlier "input ${toString n}") (3 + below 6 index "inputs");
      inputs = if index == 0 then [ ] else [ (elemAt all (index / 2)) near ] ++ others;
      isTool = input: below 3 index "tool ${input.name}" == 0;
    in
    derivation (ordinary // {
      name = "${label}-${toString (below 30 index "major")}.${toString (below 10 index "minor")}";
      pname = label;
      version = "${toString (below 30 index "major")}.${toString (below 10 index "minor")}";
      outputs = if below 3 index "outputs" == 0 then [ "out" "dev" "man" ] else [ "out" ];
      args = [ "-e" setup ];
      src = source index 0;
      patches = [ (source index 1) ] ++ (if below 4 index "strip" == 0 then [ strip ] else [ ]);
      buildInputs = map (input: input.dev or input) (builtins.filter (input: !isTool input) inputs);
      nativeBuildInputs = builtins.filter isTool inputs;
      configureFlags = [
        "--with-${label}=${hashString "md5" label}" "--disable-static" "--enable-shared"
        "--sysconfdir=/etc" "--localstatedir=/var" "--without-included-libraries"
      ];
      enableParallelBuilding = true;
      enableParallelChecking = true;
      enableParallelInstalling = true;
      preConfigure = ''
        substituteInPlace configure --replace-fail "/usr/bin/file" "$(type -P file)"
        export CFLAGS="$NIX_CFLAGS_COMPILE -O2"	# for ${label}
      '';
      postInstall = ''
        mkdir -p "$out/share/doc/${label}"
        for file in README NEWS AUTHORS; do
          install -m 444 "$file" "$out/share/doc/${label}/$file"
        done
        sed -i -e "s|^prefix=.*|prefix=\"$out\"|" "$out/lib/pkgconfig/${label}.pc"
      '';
    });
  all = genList package packages;

  unit = index:
    let
      used = genList (n: elemAt all (below 4096 index "unit ${toString n}" * packages / 4096))
        (3 + below 6 index "units");
    in
    derivation (ordinary // {
      name = "unit-service-${toString index}.service";
      args = [ "-e" setup ];
      passAsFile = [ "buildCommand" "text" ];
      buildCommand = "mkdir -p $out; cp $textPath $out/service-${toString index}.service";
      text = concatStringsSep "\n" (map
        (each: "ExecStart=${each}/bin/${each.pname} --config /etc/${each.pname}.conf")
        used);
      allowSubstitutes = false;
      preferLocalBuild = true;
    });
  path = derivation (ordinary // {
    name = "system-path";
    args = [ "-e" setup ];
    # The later half: each package before them is an input of one of these, or of one of its inputs.
    paths = genList (n: elemAt all (packages - 1 - n)) (packages - packages / 2);
    allowSubstitutes = false;
    preferLocalBuild = true;
  });
in
derivation (ordinary // {
  name = "nixos-system-benchmark-25.05";
  args = [ "-e" setup ];
  inherit path;
  units = genList unit (1 + packages / 25);
  allowSubstitutes = false;
  preferLocalBuild = true;
})
