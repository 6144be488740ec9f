"""The NixOS module, evaluated with a module system: see rig/nixos.py for what stands for NixOS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.planning.lists.list_file import parse_list
from mirror.shipped import shipped_edits

if TYPE_CHECKING:
    from rig.nixos import Module

ENABLED = 'enable = true; lists = [ "/etc/prefetch/hosts.txt" ];'


def prefetch(settings: str) -> str:
    return f"{{ services.prefetch = {{ {ENABLED} {settings} }}; }}"


def command(system: Any, service: str) -> str:
    """What a service runs, without the program's own path."""
    line: str = system["systemd"]["services"][service]["serviceConfig"]["ExecStart"]
    return line.removeprefix("/usr/local/bin/prefetch ")


def failed(system: Any) -> list[str]:
    return [each["message"] for each in system["assertions"] if not each["assertion"]]


def test_nothing_is_set_where_it_is_not_enabled(module: Module) -> None:
    system = module.system('{ services.prefetch.lists = [ "/etc/prefetch/hosts.txt" ]; }')
    assert system["systemd"] == {
        "services": {},
        "timers": {},
        "sockets": {},
        "tmpfiles": {"rules": []},
    }
    assert system["users"] == {"users": {}, "groups": {}}
    assert system["environment"] == {"systemPackages": [], "etc": {}}


def test_enabled_it_syncs_by_a_timer_as_a_user_of_its_own(module: Module) -> None:
    system = module.system(prefetch(""))
    assert failed(system) == []
    assert set(system["systemd"]["services"]) == {"prefetch-sync"}
    assert set(system["systemd"]["timers"]) == {"prefetch-sync"}
    assert set(system["users"]["users"]) == set(system["users"]["groups"]) == {"prefetch"}
    rules = system["systemd"]["tmpfiles"]["rules"]
    assert rules == ["d /nix/var/nix/gcroots/prefetch 0755 prefetch prefetch -"]
    assert system["networking"]["firewall"]["allowedTCPPorts"] == []


def test_something_has_to_be_listed(module: Module) -> None:
    system = module.system("{ services.prefetch.enable = true; }")
    assert failed(system) == [
        "services.prefetch: name what to keep, in `targets` or in `lists`",
    ]


def test_targets_become_a_list_that_prefetch_reads(module: Module) -> None:
    system = module.system(
        "{ services.prefetch = { enable = true; targets = {"
        ' laptop = "/etc/nixos#laptop edits=hosts,wifi";'
        ' pi = "github:a/b#pi level=sources"; }; }; }'
    )
    assert failed(system) == []
    text = system["environment"]["etc"]["prefetch/targets.txt"]["text"]
    assert command(system, "prefetch-sync").startswith("sync /etc/prefetch/targets.txt --to ")
    targets = parse_list(
        text, file="targets.txt", directory=Path("/etc/prefetch"), shipped_edits=shipped_edits()
    )
    assert {target.name for target in targets} == {"laptop", "pi"}


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ("settings.keepGoing = false;", "--skip-if-running"),
        ('settings.level = "sources";', "--skip-if-running --keep-going --level sources"),
        ("settings.jobs = 4;", "--skip-if-running --keep-going --jobs 4"),
        (
            'settings = { build = true; limitRate = "2M"; extraArguments = [ "--no-archives" ]; };',
            "--skip-if-running --keep-going --build --limit-rate 2M --no-archives",
        ),
        (
            'settings.signingKeyFile = "/root/key";',
            "--skip-if-running --keep-going --signing-key %d/signing-key",
        ),
        (
            'settings.onChange = "echo \\"100%\\" of $HOSTNAME";',
            '--skip-if-running --keep-going --on-change "echo \\"100%%\\" of $$HOSTNAME"',
        ),
    ],
)
def test_settings_are_arguments_of_sync(module: Module, settings: str, arguments: str) -> None:
    system = module.system(prefetch(settings))
    expected = f"sync /etc/prefetch/hosts.txt --to /var/lib/prefetch/cache {arguments}"
    assert command(system, "prefetch-sync") == expected


def test_a_signing_key_is_handed_over_by_systemd(module: Module) -> None:
    system = module.system(
        prefetch(
            'destination = null; settings.signingKeyFile = "/root/a";'
            ' serve = { enable = true; signingKeyFile = "/root/b"; };'
        )
    )
    assert failed(system) == []
    services = system["systemd"]["services"]
    assert services["prefetch-sync"]["serviceConfig"]["LoadCredential"] == "signing-key:/root/a"
    assert services["prefetch-serve"]["serviceConfig"]["LoadCredential"] == "signing-key:/root/b"


@pytest.mark.parametrize(
    "definition",
    [
        'settings.level = "everything";',
        "settings.jobs = 0;",
        "settings.signingKeyFile = ./key;",
        'lists = [ "hosts.txt" ];',
        "serve.port = 70000;",
        "prune.keep = 0;",
        "targets.laptop = [ ];",
        "timer = true;",
    ],
)
def test_a_definition_of_the_wrong_type_is_refused(module: Module, definition: str) -> None:
    name = definition.split(" ", maxsplit=1)[0]
    refusal = module.refusal(f"{{ services.prefetch = {{ enable = true; {definition} }}; }}")
    assert f"services.prefetch.{name}" in refusal


def test_an_option_that_there_is_not_is_refused(module: Module) -> None:
    refusal = module.refusal(prefetch("lsits = [ ];"))
    assert "The option `services.prefetch.lsits' does not exist" in refusal


def test_a_destination_elsewhere_is_made_and_can_be_written(module: Module) -> None:
    system = module.system(prefetch('destination = "/srv/cache"; user = "ann"; group = "users";'))
    written = system["systemd"]["services"]["prefetch-sync"]["serviceConfig"]["ReadWritePaths"]
    assert written == ["-/nix/var/nix/gcroots/prefetch", "/srv/cache"]
    assert "d /srv/cache 0755 ann users -" in system["systemd"]["tmpfiles"]["rules"]
    assert system["users"] == {"users": {}, "groups": {}}


def test_a_destination_of_several_words_is_quoted(module: Module) -> None:
    system = module.system(prefetch('destination = "/srv/my \\"100%\\" $x";'))
    quoted = '"/srv/my \\"100%%\\" $x"'
    written = system["systemd"]["services"]["prefetch-sync"]["serviceConfig"]["ReadWritePaths"]
    assert written[-1] == quoted
    assert f"d {quoted} 0755 prefetch prefetch -" in system["systemd"]["tmpfiles"]["rules"]
    assert f"--to {quoted.replace('$', '$$')} " in command(system, "prefetch-sync")


def test_the_machines_own_store_is_a_destination_too(module: Module) -> None:
    system = module.system(
        prefetch("destination = null; prune.enable = true; serve.enable = true;")
    )
    assert failed(system) == []
    for service, words in (
        ("prefetch-sync", "sync /etc/prefetch/hosts.txt --skip-if-running --keep-going"),
        ("prefetch-prune", "prune /etc/prefetch/hosts.txt --keep 3 --keep-within 30d"),
        ("prefetch-serve", "serve --store --listen 127.0.0.1:8080"),
    ):
        assert command(system, service) == words


def test_a_prune_can_be_told_of_a_web_servers_clients(module: Module) -> None:
    system = module.system(prefetch("prune = { enable = true; served = true; };"))
    assert command(system, "prefetch-prune").endswith(" --keep-within 30d --served")


def test_a_prune_keeps_by_the_calendar_and_by_size(module: Module) -> None:
    system = module.system(
        prefetch('prune = { enable = true; keepDaily = 7; keepMonthly = 6; maxSize = "200G"; };')
    )
    assert failed(system) == []
    rules = " --keep-daily 7 --keep-monthly 6 --max-size 200G"
    assert command(system, "prefetch-prune").endswith(rules)


def test_the_lan_is_served_where_that_is_asked_for(module: Module) -> None:
    system = module.system(
        prefetch(
            'serve = { enable = true; addresses = [ "0.0.0.0" "::" ]; port = 9000; priority = 20;'
            " openFirewall = true; };"
        )
    )
    assert (failed(system), system["warnings"]) == ([], [])
    assert command(system, "prefetch-serve") == (
        "serve /var/lib/prefetch/cache --listen 0.0.0.0:9000 --listen [::]:9000 --priority 20"
    )
    assert system["networking"]["firewall"]["allowedTCPPorts"] == [9000]
    service = system["systemd"]["services"]["prefetch-serve"]
    assert service["wantedBy"] == ["multi-user.target"]
    assert system["systemd"]["sockets"] == {}


def test_a_title_is_one_word_in_which_systemd_expands_nothing(module: Module) -> None:
    system = module.system(prefetch('serve = { enable = true; title = "50% of $HOME"; };'))
    assert command(system, "prefetch-serve").endswith(' --title "50%% of $$HOME"')


def test_a_low_port_takes_the_socket(module: Module) -> None:
    alone = module.system(prefetch("serve = { enable = true; port = 80; };"))
    assert failed(alone) == [
        "services.prefetch.serve: a port below 1024 takes socketActivation",
    ]
    system = module.system(
        prefetch("serve = { enable = true; port = 80; socketActivation = true; };")
    )
    assert failed(system) == []
    assert system["systemd"]["sockets"]["prefetch-serve"]["listenStreams"] == ["127.0.0.1:80"]
    assert system["systemd"]["services"]["prefetch-serve"]["wantedBy"] == []
    assert command(system, "prefetch-serve") == "serve /var/lib/prefetch/cache"


def test_the_socket_takes_numbers(module: Module) -> None:
    def serve(addresses: str, more: str = "") -> str:
        return prefetch(f"serve = {{ enable = true; addresses = [ {addresses} ]; {more} }};")

    activated = "socketActivation = true;"
    assert failed(module.system(serve('"::1" "localhost"', activated))) == [
        "services.prefetch.serve: socketActivation takes addresses in numbers, such as 127.0.0.1",
    ]
    assert failed(module.system(serve('"::1" "127.0.0.1"', activated))) == []
    assert failed(module.system(serve('"::1" "localhost"'))) == []


def test_the_server_signs_for_no_directory(module: Module) -> None:
    system = module.system(prefetch('serve = { enable = true; signingKeyFile = "/root/key"; };'))
    (message,) = failed(system)
    assert "a cache directory is signed by the sync, with settings.signingKeyFile" in message


def test_an_open_firewall_before_the_loopback_alone_is_warned_of(module: Module) -> None:
    system = module.system(prefetch("serve = { enable = true; openFirewall = true; };"))
    assert system["warnings"] == [
        "services.prefetch.serve: the firewall is open, but only the loopback is listened on",
    ]


def test_what_is_denied_can_be_allowed_by_an_ordinary_definition(module: Module) -> None:
    configuration = prefetch("").removesuffix("}") + (
        'systemd.services.prefetch-sync.serviceConfig.ProtectHome = "read-only"; }'
    )
    service = module.system(configuration)["systemd"]["services"]["prefetch-sync"]["serviceConfig"]
    assert service["ProtectHome"] == "read-only"
    assert service["ProtectSystem"] == "strict"
