from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from rig.patch_scripts import package, script

from mirror.errors import FormatError
from mirror.formats.derivation import Derivation, Output
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath
from mirror.planning.fetchers.fixed_outputs import (
    BuilderOnly,
    Download,
    GitCheckout,
    Patch,
    PatchOptions,
    RestoreNar,
    Unfetchable,
    Unpack,
)
from mirror.planning.fetchers.recognise import fixed_output, join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.planning.fetchers.fixed_outputs import FixedOutput, Origin

URL = "https://example.org/source-1.tar.gz"
DIGEST = Hash.of(b"content")

FETCHZIP_2026 = """
unpackDir="$TMPDIR/unpack"
mkdir "$unpackDir"
cd "$unpackDir"

renamed="$TMPDIR/download.tar.gz"
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
"""
FETCHZIP_FLAT = """
unpackDir="$TMPDIR/unpack"
mkdir "$unpackDir"
cd "$unpackDir"

renamed="$TMPDIR/source-1.zip"
mv "$downloadedFile" "$renamed"
unpackFile "$renamed"
chmod -R +w "$unpackDir"
mv "$unpackDir" "$out"
chmod 755 "$out"
"""
FETCHZIP_2015 = """
export PATH=/nix/store/zzz-unzip-6.0/bin:$PATH
mkdir $out
cd $out
renamed="$TMPDIR/source-1.tar.gz"
mv "$downloadedFile" "$renamed"
unpackFile "$renamed"
shopt -s dotglob
if [ "$(ls -d $out/* | wc -l)" != 1 ]; then
  echo "error: zip file must contain a single directory."
  exit 1
fi
fn=$(cd "$out" && echo *)
mv $out/$fn/* "$out/"
rmdir "$out/$fn"
"""


def path(name: str, letter: str = "a") -> StorePath:
    return StorePath.from_base_name(f"{letter * 32}-{name}")


MIRRORS_FILE = path("mirrors-list", "m")


def derivation(
    environment: Mapping[str, str],
    *,
    name: str = "source-1.tar.gz",
    algorithm: str = "sha256",
    digest: str = DIGEST.base16,
    builder: str = "/nix/store/sh",
    arguments: tuple[str, ...] = (),
    inputs: tuple[StorePath, ...] = (),
    outputs: Mapping[str, Output] | None = None,
    system: str = "x86_64-linux",
    letter: str = "d",
) -> Derivation:
    return Derivation(
        path=path(f"{name}.drv", letter),
        outputs=outputs or {"out": Output(path(name), algorithm, digest)},
        input_derivations=dict.fromkeys(inputs, ("out",)),
        input_sources=(),
        system=system,
        builder=builder,
        arguments=arguments,
        environment=environment,
    )


def mirrors_list(environment: Mapping[str, str]) -> Derivation:
    return derivation(
        environment, name="mirrors-list", outputs={"out": Output(MIRRORS_FILE)}, letter="n"
    )


MIRRORS = mirrors_list(
    {
        "gnu": "https://one.example/gnu/ https://two.example/",
        "hashedMirrors": "https://tarballs.example",
    }
)


def recognise(
    environment: Mapping[str, str], *, overrides: Mapping[str, str] | None = None, **fields: Any
) -> FixedOutput:
    fields = {"inputs": (MIRRORS.path,), **fields}
    made = derivation(environment, **fields)
    known = {MIRRORS.path: MIRRORS}
    return fixed_output(made, known.get, overrides=overrides or {})


def fetchurl(attributes: Mapping[str, str] | None = None, **fields: Any) -> Origin:
    environment = {"urls": URL, "mirrorsFile": MIRRORS_FILE, "postFetch": "", "executable": ""}
    return recognise({**environment, **(attributes or {})}, **fields).origin


def fetchgit(**attributes: str) -> Origin:
    return recognise(
        {
            "fetcher": "/nix/store/x-nix-prefetch-git",
            "leaveDotGit": "",
            "url": "https://example.org/r.git",
            "rev": "0123",
            **attributes,
        },
        algorithm="r:sha256",
    ).origin


def test_the_output_field_gives_hash_and_mode_whatever_the_environment_says() -> None:
    plain = recognise({"outputHash": "nonsense", "outputHashMode": "recursive"})
    assert (plain.hash, plain.mode) == (DIGEST, "flat")
    assert plain.content_address == f"fixed:{DIGEST.nix32}"
    tree = recognise({}, algorithm="r:sha256")
    assert (tree.mode, tree.content_address) == ("nar", f"fixed:r:{DIGEST.nix32}")
    sha1 = Hash.of(b"content", "sha1")
    assert recognise({}, algorithm="sha1", digest=sha1.base16).hash == sha1


@pytest.mark.parametrize(
    "outputs",
    [
        {"out": Output(path("x"))},
        {"out": Output(None, "r:sha256", "")},
        {"out": Output(path("x"), "git:sha1", "00" * 20)},
        {"out": Output(path("x"), "text:sha256", "00" * 32)},
    ],
)
def test_what_has_no_fixed_output_of_a_known_form_is_an_error(outputs: dict[str, Output]) -> None:
    with pytest.raises(FormatError, match=r"source-1\.tar\.gz\.drv"):
        fixed_output(derivation({}, outputs=outputs), lambda _: None)


def test_builtin_fetchurl() -> None:
    def builtin(**attributes: str) -> Origin:
        return recognise({"url": URL, **attributes}, builder="builtin:fetchurl").origin

    assert builtin(urls=URL) == Download(urls=(URL,))
    assert builtin(executable="1") == Download(urls=(URL,), executable=True)
    assert builtin(executable="", unpack="") == Download(urls=(URL,))
    assert builtin(unpack="1") == RestoreNar(urls=(URL,))


def test_fetchurl() -> None:
    assert fetchurl() == Download(urls=(URL,))
    assert fetchurl({"executable": "1"}) == Download(urls=(URL,), executable=True)
    assert fetchurl({"urls": f"{URL} {URL}.bak"}) == Download(urls=(URL, f"{URL}.bak"))


def test_structured_attributes_read_like_an_environment() -> None:
    document = {"urls": [URL], "mirrorsFile": MIRRORS_FILE, "executable": True, "postFetch": ""}
    assert recognise({"__json": json.dumps(document)}).origin == (
        Download(urls=(URL,), executable=True)
    )
    nested = {"env": {"mirrorsFile": MIRRORS_FILE}, "urls": [URL], "executable": False}
    assert recognise({"__json": json.dumps(nested)}).origin == Download(urls=(URL,))
    for malformed in ("[", "[]"):
        with pytest.raises(FormatError, match="__json"):
            recognise({"__json": malformed})


def test_fetchzip_in_the_words_of_several_years() -> None:
    assert fetchurl({"postFetch": FETCHZIP_2026}) == Unpack(urls=(URL,), extension="tar.gz")
    assert fetchurl({"postFetch": FETCHZIP_FLAT}) == Unpack(urls=(URL,), strip_root=False)
    assert fetchurl({"postFetch": FETCHZIP_2015}) == Unpack(urls=(URL,))


def test_fetchzip_with_shell_of_its_own_is_left_to_the_builder_but_tried() -> None:
    origin = fetchurl({"postFetch": FETCHZIP_2026 + "rm -r $out/tests\n"})
    assert isinstance(origin, BuilderOnly)
    assert "rm -r $out/tests" in origin.reason
    assert origin.attempt == Unpack(urls=(URL,), extension="tar.gz")


def test_fetchpatch_is_a_patch_to_normalise() -> None:
    options = PatchOptions(git_headers=True, includes=("src/*",))
    attributes = {"postFetch": script(options), "nativeBuildInputs": f"/a {package(options)} /b"}
    patch = Patch(urls=(URL,), options=options)
    assert fetchurl(attributes) == patch
    private = fetchurl({**attributes, "netrcPhase": "echo machine > netrc"})
    assert isinstance(private, BuilderOnly)
    assert private.attempt == patch
    structured = {"mirrorsFile": MIRRORS_FILE, "urls": [URL], **attributes}
    structured["nativeBuildInputs"] = [package(options)]
    assert recognise({"__json": json.dumps(structured)}).origin == patch


def test_patches_of_several_derivations_are_joined_if_they_are_normalised_alike() -> None:
    def patch(url: str, strip: int) -> FixedOutput:
        options = PatchOptions(git_headers=False, strip=strip)
        attributes = {"postFetch": script(options), "nativeBuildInputs": package(options)}
        return recognise({"urls": url, "mirrorsFile": MIRRORS_FILE, **attributes})

    first, second, other = patch(URL, 1), patch("https://b/", 1), patch("https://c/", 2)
    assert join([first, second]).origin.urls == (URL, "https://b/")
    assert join([first, other]).origin == first.origin


def test_another_use_of_patchutils_is_left_to_the_builder_but_tried() -> None:
    origin = fetchurl({"postFetch": '"/nix/store/x/bin/lsdiff" "$out" | sort'})
    assert isinstance(origin, BuilderOnly)
    assert origin.attempt == Download(urls=(URL,))


@pytest.mark.parametrize(
    "attributes",
    [{"postFetch": "make-something"}, {"showURLs": "1"}, {"urls": ""}],
)
def test_what_only_a_builder_does_is_not_tried(attributes: dict[str, str]) -> None:
    origin = fetchurl(attributes)
    assert isinstance(origin, BuilderOnly)
    assert origin.attempt is None


@pytest.mark.parametrize("attribute", ["netrcPhase", "postHook"])
def test_what_needs_credentials_is_tried_with_the_users_own(attribute: str) -> None:
    origin = fetchurl({attribute: "echo machine > netrc"})
    assert isinstance(origin, BuilderOnly)
    assert "netrc" in origin.reason
    assert origin.attempt == Download(urls=(URL,))
    zipped = fetchurl({attribute: "x", "postFetch": FETCHZIP_FLAT})
    assert isinstance(zipped, BuilderOnly)
    assert zipped.attempt == Unpack(urls=(URL,), strip_root=False)


def test_mirrors_are_expanded_in_order_and_each_url_comes_once() -> None:
    urls = "mirror://gnu/a/b.tgz https://two.example/a/b.tgz"
    assert fetchurl({"urls": urls}) == Download(
        urls=("https://one.example/gnu/a/b.tgz", "https://two.example/a/b.tgz")
    )


def test_the_user_can_name_other_mirrors() -> None:
    overrides = {
        "NIX_MIRRORS_gnu": "http://lan/gnu/",
        "NIX_MIRRORS_new": "http://lan/new/",
        "NIX_HASHED_MIRRORS": "http://lan/hashed",
    }
    recognised = recognise(
        {"urls": "mirror://gnu/x mirror://new/y", "mirrorsFile": MIRRORS_FILE},
        overrides=overrides,
    )
    assert recognised.origin.urls == ("http://lan/gnu/x", "http://lan/new/y")
    assert recognised.hashed_mirrors == ("http://lan/hashed",)


def test_an_unknown_site_leaves_the_other_urls() -> None:
    assert fetchurl({"urls": f"mirror://nobody/x {URL}"}) == Download(urls=(URL,))
    origin = fetchurl({"urls": "mirror://nobody/x"})
    assert isinstance(origin, BuilderOnly)
    assert "mirror://nobody/x" in origin.reason
    unread = recognise({"urls": "mirror://gnu/x", "mirrorsFile": MIRRORS_FILE}, inputs=())
    assert isinstance(unread.origin, BuilderOnly)


def test_the_mirrors_list_may_be_another_version_of_the_same_name() -> None:
    other = path("mirrors-list.drv", "k")
    urls = {"urls": "mirror://gnu/x", "mirrorsFile": MIRRORS_FILE}
    found = recognise(urls, inputs=(other, MIRRORS.path)).origin
    assert found.urls == ("https://one.example/gnu/x", "https://two.example/x")


def test_hashed_mirrors_and_their_preference() -> None:
    environment = {"urls": URL, "mirrorsFile": MIRRORS_FILE}
    assert recognise(environment).hashed_mirrors == ("https://tarballs.example",)
    assert not recognise(environment).hashed_mirrors_first
    assert recognise({**environment, "preferHashedMirrors": "1"}).hashed_mirrors_first


def test_fetchgit() -> None:
    assert fetchgit() == GitCheckout(url="https://example.org/r.git", revision="0123")
    assert fetchgit(
        fetchSubmodules="1",
        deepClone="1",
        sparseCheckout="a b\n c\n",
        nonConeMode="1",
        rootDir="/c/",
    ) == GitCheckout(
        url="https://example.org/r.git",
        revision="0123",
        submodules=True,
        sparse_checkout=("a b", " c", ""),
        sparse_cone=False,
        root_directory="c",
    )


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("leaveDotGit", ".git"),
        ("fetchLFS", "git-lfs"),
        ("postFetch", "changes"),
        ("preFetch", "prepares"),
        ("postCheckout", "changes"),
    ],
)
def test_fetchgit_that_does_more_is_left_to_the_builder(attribute: str, reason: str) -> None:
    origin = fetchgit(**{attribute: "1"})
    assert isinstance(origin, BuilderOnly)
    assert reason in origin.reason
    assert origin.urls == ("https://example.org/r.git",)
    assert origin.attempt is None


@pytest.mark.parametrize("attribute", ["netrcPhase", "postHook", "gitConfigFile"])
def test_fetchgit_with_what_the_user_may_have_too_is_tried_first(attribute: str) -> None:
    origin = fetchgit(**{attribute: "x"})
    assert isinstance(origin, BuilderOnly)
    assert origin.attempt == GitCheckout(url="https://example.org/r.git", revision="0123")


@pytest.mark.parametrize(
    ("name", "environment", "reason"),
    [
        ("ripgrep-14-vendor-staging", {}, "Cargo"),
        ("hugo-go-modules", {"impureEnvVars": "http_proxy GOPROXY"}, "Go"),
        ("other", {}, "no fetcher"),
    ],
)
def test_builders_of_other_ecosystems_are_named(
    name: str, environment: dict[str, str], reason: str
) -> None:
    origin = recognise(environment, name=name, algorithm="r:sha256").origin
    assert isinstance(origin, BuilderOnly)
    assert reason in origin.reason
    assert origin.attempt is None


def test_what_the_user_must_supply_comes_with_the_packages_own_words() -> None:
    script = derivation(
        {"text": "source x\ncat <<_EOF_\n\nPlease download\n  it yourself.\n\n_EOF_\nexit 1\n"},
        name="restrict-message",
        outputs={"out": Output(path("restrict-message"))},
        letter="r",
    )
    arguments = ("-e", path("restrict-message"))
    made = derivation({}, arguments=arguments, inputs=(script.path,))
    known = {script.path: script}
    found = fixed_output(made, known.get).origin
    assert found == Unfetchable(reason="Please download it yourself.")
    unread = fixed_output(made, lambda _: None).origin
    assert isinstance(unread, Unfetchable)
    assert "source-1.tar.gz must be added" in unread.reason


def test_a_hash_that_nobody_knows_yet_is_unfetchable() -> None:
    origin = fetchurl(digest="0" * 64)
    assert isinstance(origin, Unfetchable)
    assert "outputHash" in origin.reason


def test_a_hash_that_cannot_be_computed_here_is_left_to_the_builder() -> None:
    origin = fetchurl(algorithm="blake3")
    assert isinstance(origin, BuilderOnly)
    assert origin.urls == (URL,)


def test_two_derivations_of_one_path_unite_their_urls() -> None:
    first = recognise({"url": URL}, builder="builtin:fetchurl", letter="h")
    second = recognise({"urls": f"mirror://gnu/x {URL}", "mirrorsFile": MIRRORS_FILE})
    joined = join([first, second])
    assert joined.derivation == first.derivation
    assert joined.origin == Download(
        urls=(URL, "https://one.example/gnu/x", "https://two.example/x")
    )
    assert joined.hashed_mirrors == ("https://tarballs.example",)
    assert join([first]) == first


def test_the_way_that_needs_least_wins_and_the_callers_platform_is_preferred() -> None:
    builder = recognise({"urls": URL, "mirrorsFile": MIRRORS_FILE, "postFetch": "x"}, letter="h")
    native = recognise(
        {"urls": URL, "mirrorsFile": MIRRORS_FILE}, system="aarch64-linux", letter="f"
    )
    missing = recognise({}, digest="0" * 64, letter="g")
    for order in ([builder, native, missing], [missing, native, builder]):
        joined = join(order, system="x86_64-linux")
        assert joined.origin == Download(urls=(URL,))
        assert joined.system == "x86_64-linux"
        assert join(order, system="aarch64-linux").derivation == native.derivation
        assert join(order).origin == Download(urls=(URL,))


def test_different_kinds_are_not_mixed() -> None:
    plain = recognise({"urls": URL, "mirrorsFile": MIRRORS_FILE})
    executable = recognise({"url": "https://b/", "executable": "1"}, builder="builtin:fetchurl")
    assert join([plain, executable]).origin == Download(urls=(URL,))
    two = [
        recognise({"urls": u, "mirrorsFile": MIRRORS_FILE, "postFetch": "lsdiff"})
        for u in (URL, "https://b/")
    ]
    united = join(two).origin
    assert isinstance(united, BuilderOnly)
    assert united.urls == (URL, "https://b/")
    assert united.attempt == Download(urls=(URL, "https://b/"))


def test_only_outputs_of_one_path_can_be_joined() -> None:
    with pytest.raises(ValueError, match="one path"):
        join([])
    with pytest.raises(ValueError, match="one path"):
        join([recognise({}), recognise({}, name="other")])
