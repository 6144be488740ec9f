# All packages of the distribution for one system.
{ system, pins }:
let
  lib = import ./lib.nix;
  stdenv = import ./stdenv.nix { inherit system pins lib; };
  inherit (stdenv) source busybox fetchurlBoot fetchurl fetchzip fetchgit mkDerivation;

  # A source by its name among the pins.
  flat = name: arguments:
    fetchurl ({ inherit (source name) url hash; } // arguments);

  # A build tool that is one script of this tree.
  scriptTool = pname: script: mkDerivation {
    inherit pname;
    version = "1.0";
    inherit busybox;
    program = script;
    buildCommand = ''
      mkdir -p "$out/bin"
      sed "s|@shell@|$busybox/bin/sh|" "$program" >"$out/bin/${pname}"
      chmod +x "$out/bin/${pname}"
    '';
  };

  # A library: one file that its users read, and a header in an output of its own.
  library = { pname, version, src, libraries ? [ ] }: mkDerivation {
    inherit pname version src;
    outputs = [ "out" "dev" ];
    nativeBuildInputs = [ pkgs.compiler ];
    buildInputs = map lib.getDev libraries;
    buildCommand = ''
      mkdir -p "$out/lib" "$dev/include" "$dev/nix-support"
      cc "$out/lib/${pname}.so" main.sh ${lib.concatStringsSep " " (map (l: "${l}/lib/${l.pname}.so") libraries)}
      echo "library $out" >"$dev/include/${pname}.h"
      echo "$buildInputs" >"$dev/nix-support/propagated-build-inputs"
      cp -r share "$out/share"
    '';
  };

  # A program with a manual, linked with libraries.
  program =
    { pname, version, src, libraries ? [ ], nativeBuildInputs ? [ ], postInstall ? "", ... }@attributes:
    mkDerivation (removeAttrs attributes [ "libraries" "postInstall" ] // {
      outputs = attributes.outputs or [ "out" "man" ];
      nativeBuildInputs = [ pkgs.compiler pkgs.gettext ] ++ nativeBuildInputs;
      buildInputs = map lib.getDev libraries;
      buildCommand = ''
        mkdir -p "$out/bin" "$out/share/locale" "$man/share/man"
        cc "$out/bin/${pname}" main.sh ${lib.concatStringsSep " " (map (l: "${l}/lib/${l.pname}.so") libraries)}
        msgfmt messages.po "$out/share/locale/${pname}.mo"
        cp -r share/. "$out/share"
        cp manual.txt "$man/share/man/${pname}.1"
        ${postInstall}
      '';
    });

  pkgs = {
    inherit lib stdenv;
    inherit (stdenv) busybox curl bootstrap mirrorsList nix-prefetch-git;

    # Build tools: no system refers to them, and every system is built with them.

    compiler = mkDerivation {
      pname = "compiler";
      version = "3.1";
      inherit busybox;
      program = ./scripts/cc.sh;
      # The library of the language itself, which Nix fetches by its own means.
      runtime = fetchurlBoot { name = "compiler-runtime-3.1.sh"; source = source "compiler-runtime"; };
      buildCommand = ''
        mkdir -p "$out/bin" "$out/lib"
        sed "s|@shell@|$busybox/bin/sh|" "$program" >"$out/bin/cc"
        chmod +x "$out/bin/cc"
        cp "$runtime" "$out/lib/runtime.sh"
      '';
    };
    gettext = mkDerivation {
      pname = "gettext";
      version = "0.21";
      src = flat "gettext" { };
      inherit busybox;
      program = ./scripts/msgfmt.sh;
      buildCommand = ''
        mkdir -p "$out/bin" "$out/share"
        sed "s|@shell@|$busybox/bin/sh|" "$program" >"$out/bin/msgfmt"
        chmod +x "$out/bin/msgfmt"
        cp -r share/. "$out/share"
      '';
    };
    make-wrapper = scriptTool "make-wrapper" ./scripts/make-wrapper.sh;
    make-etc = scriptTool "make-etc" ./scripts/make-etc.sh;
    unit-check = scriptTool "unit-check" ./scripts/unit-check.sh;
    hosts-format = scriptTool "hosts-format" ./scripts/hosts-format.sh;
    user-check = scriptTool "user-check" ./scripts/user-check.sh;
    password-check = scriptTool "password-check" ./scripts/password-check.sh;
    script-check = scriptTool "script-check" ./scripts/script-check.sh;
    firewall-check = scriptTool "firewall-check" ./scripts/firewall-check.sh;
    env-merge = scriptTool "env-merge" ./scripts/env-merge.sh;
    initrd-pack = scriptTool "initrd-pack" ./scripts/initrd-pack.sh;
    wifi-format = program {
      pname = "wifi-format";
      version = "0.4";
      src = flat "wifi-format" { };
      libraries = [ pkgs.libbase ];
    };
    dnsmasq-check = program {
      pname = "dnsmasq-check";
      version = "2.90";
      src = flat "dnsmasq-check" { };
      libraries = [ pkgs.libnet ];
    };

    # A chain of libraries, each linked with the one before.

    libbase = library { pname = "libbase"; version = "1.2"; src = flat "libbase" { url = "mirror://demo/libbase-1.2.tar.xz"; }; };
    libio = library {
      pname = "libio";
      version = "2.0";
      src = flat "libio" { hash = null; sha256 = (source "libio").base32; };
      libraries = [ pkgs.libbase ];
    };
    libnet = library {
      pname = "libnet";
      version = "0.9";
      src = flat "libnet" { hash = null; sha512 = (source "libnet").sha512; };
      libraries = [ pkgs.libio ];
    };
    libresolve = library {
      pname = "libresolve";
      version = "4.4";
      src = fetchzip { inherit (source "libresolve") url; hash = (source "libresolve").tree; };
      libraries = [ pkgs.libnet ];
    };

    # Programs, each with a source of another kind.

    hello = program {
      pname = "hello";
      version = "2.12";
      src = flat "hello" { hash = null; sha1 = (source "hello").sha1; };
      patches = [ ./patches/hello-greeting.patch ];
      # A file in the store that refers to others.
      greeting = builtins.toFile "greeting" "Hello, as patched by ${./patches/hello-greeting.patch}";
      postInstall = ''cp "$greeting" "$out/share/greeting"'';
    };
    editor = program {
      pname = "editor";
      version = "9.0";
      __structuredAttrs = true;
      src = fetchgit { inherit (source "editor") url rev hash; };
      libraries = [ pkgs.libio ];
    };
    calendar = program {
      pname = "calendar";
      version = "1.7";
      src = fetchzip { inherit (source "calendar") url; hash = (source "calendar").tree; stripRoot = false; };
    };
    atlas = program {
      pname = "atlas";
      version = "5.5";
      src = fetchzip { inherit (source "atlas") url; hash = (source "atlas").tree; };
      libraries = [ pkgs.libnet ];
    };
    # The archive of its dependencies is changed after it is unpacked: only its own builder makes it.
    ledger = program {
      pname = "ledger";
      version = "3.3";
      src = flat "ledger" { hash = null; md5 = (source "ledger").md5; };
      vendored = fetchzip {
        name = "ledger-3.3-vendored";
        inherit (source "ledger-vendored") url;
        hash = (source "ledger-vendored").changed;
        extraPostFetch = ''
          rm -r "$out/examples"
          echo "without examples" >"$out/CHANGED"
        '';
      };
      postInstall = ''cp -r "$vendored" "$out/vendored"'';
    };
    openssh = program {
      pname = "openssh";
      version = "9.6";
      src = flat "openssh" { urls = [ "${pins.origin}/dead/openssh-9.6.tar.gz" (source "openssh").url ]; };
      outputs = [ "out" "dev" "man" ];
      libraries = [ pkgs.libresolve ];
      postInstall = ''mkdir -p "$dev/include" && echo "ssh $out" >"$dev/include/ssh.h"'';
    };
    dnsmasq = program {
      pname = "dnsmasq";
      version = "2.90";
      src = flat "dnsmasq" { url = "mirror://demo/dnsmasq-2.90.tar.gz"; };
      libraries = [ pkgs.libresolve ];
    };
    wpa = program {
      pname = "wpa";
      version = "2.10";
      src = flat "wpa" { structured = true; };
      libraries = [ pkgs.libnet ];
    };
    backup = program {
      pname = "backup";
      version = "1.1";
      src = flat "backup" { };
      nativeBuildInputs = [ pkgs.make-wrapper ];
      libraries = [ pkgs.libio ];
      postInstall = ''
        mv "$out/bin/backup" "$out/bin/.backup-wrapped"
        make-wrapper "$out/bin/.backup-wrapped" "$out/bin/backup" ${pkgs.openssh}/bin
      '';
    };
    supervisor = program {
      pname = "supervisor";
      version = "255";
      src = flat "supervisor" { };
      libraries = [ pkgs.libio ];
    };
    linux = mkDerivation {
      pname = "linux";
      version = "6.6";
      src = flat "linux" { url = "mirror://kernel/linux-6.6.tar.xz"; };
      outputs = [ "out" "modules" "dev" ];
      nativeBuildInputs = [ pkgs.compiler ];
      buildCommand = ''
        mkdir -p "$out" "$modules/lib" "$dev"
        cat share/* >"$out/image"
        cp main.sh "$modules/lib/modules.sh"
        cp manual.txt "$dev/build.txt"
      '';
    };
    terminal-data = mkDerivation {
      pname = "terminal-data";
      version = "6.4";
      src = flat "terminal-data" { };
      buildCommand = ''mkdir -p "$out" && cp -r share "$out/share"'';
    };
    # Its licence does not allow a cache to carry it: every machine builds it for itself.
    printer-driver = program {
      pname = "printer-driver";
      version = "0.3";
      src = flat "printer-driver" { };
      libraries = [ pkgs.libbase ];
    };
    debugger = program {
      pname = "debugger";
      version = "13.2";
      src = flat "debugger" { };
      libraries = [ pkgs.libio ];
    };

    # What systems take in as it is fetched: one of each kind, which no cache carries.

    files = {
      certificates = flat "certificates" { url = "mirror://demo/certificates.pem"; };
      banner = flat "banner" { hash = (source "banner").tree; executable = true; };
      wallpaper = fetchurlBoot { name = "wallpaper.img"; source = source "wallpaper"; };
      probe = fetchurlBoot { name = "probe"; source = source "probe"; executable = true; };
      microcode = fetchurlBoot { name = "microcode"; source = source "microcode"; unpack = true; };
      zones = fetchzip { name = "zones"; inherit (source "zones") url; hash = (source "zones").tree; };
      timetable = fetchzip { name = "timetable"; inherit (source "timetable") url; hash = (source "timetable").tree; };
      fonts = fetchzip { name = "fonts"; inherit (source "fonts") url; hash = (source "fonts").tree; stripRoot = false; };
      blocklist = fetchgit { name = "blocklist"; inherit (source "blocklist") url rev hash; };
      # Its own site has gone: only a hashed mirror has it.
      firmware = fetchurl {
        name = "firmware.bin";
        url = "${pins.origin}/dead/firmware.bin";
        sha256 = (source "firmware").base16;
        preferHashedMirrors = true;
      };
    };
  };

  # Packages that no cache has, apart from `files`.
  unfree = [ "printer-driver" ];
  plumbing = [ "lib" "stdenv" "files" "bootstrap" "mirrorsList" ];
in
{
  inherit pkgs;

  # What a user can name.
  packages = removeAttrs pkgs plumbing;

  # What the distribution's cache holds: every output of every package, and some sources.
  cached =
    builtins.concatMap (package: map (output: package.${output}) (package.outputs or [ "out" ]))
      (builtins.attrValues (removeAttrs pkgs (plumbing ++ unfree)))
    ++ [ pkgs.hello.src pkgs.libnet.src pkgs.calendar.src ];
}
