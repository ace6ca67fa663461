# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cluster, and as whom: the order, what is laid over what, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ConnectionSettingsError,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._connection.kubeconfig import (
    Surroundings,
    parse,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._connection.resolve import (
    ENVIRONMENT,
    POD_WARNING,
    Connection,
    resolve_connection,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

EU = "https://eu.example.com:6443"
US = "https://us.example.com:6443"
TOKEN = {"host": US, "api_key": "sesame"}
CERT = {"client_cert": "/tls/a.crt", "client_key": "/tls/a.key"}
BASIC = {"username": "ann", "password": "sesame"}
PROXY = "http://proxy:3128"


def kubeconfig(user: object = None, cluster: object = None) -> dict[str, Any]:
    """Contexts eu (the current one) and us."""
    eu = {"server": EU, "certificate-authority": "/tls/eu.crt"} | dict(cluster or {})  # type: ignore[call-overload]
    return {
        "clusters": [
            {"name": "eu-cluster", "cluster": eu},
            {"name": "us-cluster", "cluster": {"server": US}},
        ],
        "users": [
            {"name": "eu-admin", "user": {"token": "of-eu"} if user is None else user},
            {"name": "us-admin", "user": {"token": "of-us"}},
        ],
        "contexts": [
            {"name": "eu", "context": {"cluster": "eu-cluster", "user": "eu-admin"}},
            {"name": "us", "context": {"cluster": "us-cluster", "user": "us-admin"}},
        ],
        "current-context": "eu",
    }


class Controller:
    """A home, perhaps with a kubeconfig, and perhaps the files of a pod."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pod = folder / "pod"
        self.default = folder / ".kube" / "config"

    def add_kubeconfig(self, content: object = None, name: str = ".kube/config") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        text = yaml.safe_dump(kubeconfig() if content is None else content)
        path.write_text(text, encoding="utf-8")
        return path

    def enter_pod(self, host: str = "10.0.0.1", port: str = "443") -> dict[str, str]:
        self.pod.mkdir()
        (self.pod / "token").write_text("of-pod\n", encoding="utf-8")
        return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}

    def resolve(self, options: Mapping[str, object] | None = None, **environ: str) -> Connection:
        given = dict.fromkeys(ENVIRONMENT) | dict(options or {})
        seen = Surroundings({"HOME": str(self.folder), **environ}, parse, self.pod)
        return resolve_connection(given, seen)

    def refuses(self, options: Mapping[str, object] | None = None, **environ: str) -> str:
        with pytest.raises(ConnectionSettingsError) as caught:
            self.resolve(options, **environ)
        text = str(caught.value)
        assert "\n" not in text
        assert "sesame" not in text
        return text


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def user_of(connection: Connection) -> Any:
    return connection.kubeconfig["users"][0]["user"]  # type: ignore[index]


def cluster_of(connection: Connection) -> Any:
    return connection.kubeconfig["clusters"][0]["cluster"]  # type: ignore[index]


# The order


def test_variables_stand_alone(controller: Controller) -> None:
    controller.add_kubeconfig()
    found = controller.resolve(TOKEN | {"host": f"{US}/", "ca_cert": "/tls/us.crt"})
    assert found == Connection(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "gpufleet-sharing",
                    "cluster": {"server": US, "certificate-authority": "/tls/us.crt"},
                }
            ],
            "users": [{"name": "gpufleet-sharing", "user": {"token": "sesame"}}],
            "contexts": [
                {
                    "name": "gpufleet-sharing",
                    "context": {"cluster": "gpufleet-sharing", "user": "gpufleet-sharing"},
                }
            ],
            "current-context": "gpufleet-sharing",
        },
        US,
        "variables (host, ca_cert)",
    )


def test_environment_stands_alone(controller: Controller) -> None:
    controller.add_kubeconfig()
    found = controller.resolve(
        None, K8S_AUTH_HOST=US, K8S_AUTH_API_KEY="sesame", K8S_AUTH_VERIFY_SSL="false"
    )
    assert (found.server, found.source) == (US, "environment (K8S_AUTH_HOST, K8S_AUTH_VERIFY_SSL)")
    assert user_of(found) == {"token": "sesame"}
    assert cluster_of(found) == {"server": US, "insecure-skip-tls-verify": True}
    assert len(found.warnings) == 1
    assert mentions(found.warnings[0], US, "K8S_AUTH_VERIFY_SSL", "K8S_AUTH_SSL_CA_CERT")


def test_kubeconfig_that_is_named(controller: Controller) -> None:
    controller.add_kubeconfig({})
    path = str(controller.add_kubeconfig(name="named"))
    assert controller.resolve({"kubeconfig": path}).server == EU
    found = controller.resolve(None, K8S_AUTH_KUBECONFIG=path)
    assert found.source == "environment (K8S_AUTH_KUBECONFIG)"
    assert controller.resolve({"kubeconfig": kubeconfig(), "context": "us"}).server == US


def test_context_of_the_default_kubeconfig(controller: Controller) -> None:
    controller.add_kubeconfig()
    found = controller.resolve({"context": "us"})
    assert (found.server, found.source) == (US, "variables (context)")
    assert found.kubeconfig["current-context"] == "us"  # K8S_AUTH_CONTEXT reaches Helm by itself
    assert user_of(found) == {"token": "of-us"}


def test_default_kubeconfig(controller: Controller) -> None:
    path = controller.add_kubeconfig()
    found = controller.resolve({"host": "", "impersonate_groups": []})
    assert (found.server, found.source) == (EU, f"kubeconfig {path}")


def test_kubeconfig_wins_against_the_pod(controller: Controller) -> None:
    controller.add_kubeconfig()
    assert controller.resolve(None, **controller.enter_pod()).server == EU


def test_kubeconfig_of_the_environment_that_is_missing_is_no_reason_to_take_the_pod(
    controller: Controller,
) -> None:
    said = controller.refuses(None, KUBECONFIG="/typo", **controller.enter_pod())
    assert mentions(said, "/typo")


@pytest.mark.parametrize(
    ("host", "server"),
    [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")],
)
def test_pod(controller: Controller, host: str, server: str) -> None:
    found = controller.resolve(None, **controller.enter_pod(host))
    assert found.server == server
    assert mentions(found.source, "service account")
    assert user_of(found) == {"tokenFile": str(controller.pod / "token"), "token": "of-pod"}
    assert found.warnings == (POD_WARNING,)


def test_nothing_at_all(controller: Controller) -> None:
    assert mentions(controller.refuses(), "O(kubeconfig)", "K8S_AUTH_", "kubeconfig")


# What settings do to a context


def test_settings_are_laid_over_a_context(controller: Controller) -> None:
    found = controller.resolve(
        {"kubeconfig": kubeconfig(), "ca_cert": "/tls/new.crt", "proxy": PROXY}
    )
    assert cluster_of(found) == {
        "server": EU,
        "certificate-authority": "/tls/new.crt",
        "proxy-url": PROXY,
    }
    assert user_of(found) == {"token": "of-eu"}
    assert found.proxy == PROXY


def test_ca_cert_replaces_data(controller: Controller) -> None:
    given = kubeconfig(cluster={"certificate-authority-data": "eA=="})
    cluster = cluster_of(controller.resolve({"kubeconfig": given, "ca_cert": "/tls/new.crt"}))
    assert cluster == {"server": EU, "certificate-authority": "/tls/new.crt"}


@pytest.mark.parametrize(("said", "off"), [(False, True), ("no", True), (True, False)])
def test_validate_certs(controller: Controller, said: object, off: bool) -> None:
    given = kubeconfig(cluster={"certificate-authority-data": "eA=="})
    found = controller.resolve({"kubeconfig": given, "validate_certs": said})
    assert cluster_of(found)["insecure-skip-tls-verify"] is off
    assert ("certificate-authority" in cluster_of(found)) is not off  # Go refuses both
    assert ("certificate-authority-data" in cluster_of(found)) is not off
    assert bool(found.warnings) is off


@pytest.mark.parametrize(
    ("identity", "user"),
    [
        ({"api_key": "sesame"}, {"token": "sesame"}),
        (CERT, {"client-certificate": "/tls/a.crt", "client-key": "/tls/a.key"}),
        (BASIC, BASIC),
    ],
)
def test_identity_replaces_the_whole_user(
    controller: Controller, identity: dict[str, object], user: dict[str, object]
) -> None:
    """A client certificate that stayed would win against the token."""
    theirs = {
        "client-certificate-data": "eA==",
        "client-key-data": "eA==",
        "exec": {"command": "aws"},
        "as": "root",
        "as-groups": ["system:masters"],
    }
    found = controller.resolve({"kubeconfig": kubeconfig(theirs)} | identity)
    assert (found.server, user_of(found)) == (EU, user)
    assert (found.impersonate_user, found.impersonate_groups) == (None, ())


@pytest.mark.parametrize(
    ("user", "options", "expected"),
    [
        ({}, {}, (None, ())),
        ({"as": "ann", "as-groups": ["a"]}, {}, ("ann", ("a",))),
        ({}, {"impersonate_user": "bob"}, ("bob", ())),
        ({"as": "ann", "as-groups": ["a"]}, {"impersonate_user": "bob"}, ("bob", ())),
        ({"as": "ann", "as-groups": ["a"]}, {"impersonate_groups": ["b"]}, ("ann", ("b",))),
        ({}, {"impersonate_user": "bob", "impersonate_groups": "a,b"}, ("bob", ("a", "b"))),
    ],
)
def test_impersonation(
    controller: Controller,
    user: dict[str, object],
    options: dict[str, object],
    expected: tuple[str | None, tuple[str, ...]],
) -> None:
    found = controller.resolve({"kubeconfig": kubeconfig({"token": "t"} | user)} | options)
    assert (found.impersonate_user, found.impersonate_groups) == expected
    name, groups = expected
    in_file = ({"as": name} if name else {}) | ({"as-groups": list(groups)} if groups else {})
    assert user_of(found) == {"token": "t"} | in_file


# Credentials stay at home


@pytest.mark.parametrize(
    "host", [EU, f"{EU}/", "https://EU.example.com:6443"], ids=["same", "slash", "case"]
)
def test_host_of_the_context_itself(controller: Controller, host: str) -> None:
    controller.add_kubeconfig()
    assert user_of(controller.resolve({"host": host})) == {"token": "of-eu"}
    assert user_of(controller.resolve(None, K8S_AUTH_HOST=host)) == {"token": "of-eu"}


@pytest.mark.parametrize(
    "options", [{}, {"context": "eu"}, {"kubeconfig": kubeconfig()}, {"impersonate_user": "ann"}]
)
def test_host_does_not_get_the_credentials_of_another_server(
    controller: Controller, options: dict[str, object]
) -> None:
    controller.add_kubeconfig()
    said = controller.refuses({"host": US} | options)
    assert mentions(said, "O(host)", US, "'eu'", EU, "O(api_key)")
    assert mentions(said, "O(client_cert)", "O(client_key)")


def test_host_of_the_environment_does_not_either(controller: Controller) -> None:
    controller.add_kubeconfig()
    said = controller.refuses(None, K8S_AUTH_HOST=US)
    assert mentions(said, "K8S_AUTH_HOST", US, EU, "K8S_AUTH_API_KEY")
    assert mentions(said, "K8S_AUTH_CLIENT_CERT", "K8S_AUTH_CLIENT_KEY")


def test_other_path_of_one_address_is_another_server(controller: Controller) -> None:
    """As with Rancher, which has many clusters behind one address."""
    one, other = "https://rancher/k8s/clusters/a", "https://rancher/k8s/clusters/b"
    controller.add_kubeconfig(kubeconfig(cluster={"server": one}))
    assert mentions(controller.refuses({"host": other}), "O(host)", one, other)


@pytest.mark.parametrize(
    ("option", "facts"),
    [
        ({"validate_certs": False}, ("O(validate_certs)", "O(ca_cert)")),
        ({}, ("variables (kubeconfig)", "O(ca_cert)")),
    ],
)
def test_tls_that_is_not_verified(
    controller: Controller, option: dict[str, object], facts: tuple[str, ...]
) -> None:
    given = kubeconfig(cluster={"insecure-skip-tls-verify": True})
    (said,) = controller.resolve({"kubeconfig": given, **option}).warnings
    assert mentions(said, EU, *facts)


@pytest.mark.parametrize(
    ("environ", "missing"),
    [({}, "not a pod"), ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "token of a service account")],
)
def test_no_credentials(controller: Controller, environ: dict[str, str], missing: str) -> None:
    """Container groups of AWX mount no token: that pod is a pod."""
    said = controller.refuses(None, **environ)
    assert missing in said
    assert ("not a pod" in said) is (not environ)
    assert "OpenShift or Kubernetes API Bearer Token" in said


def test_host_does_not_get_the_credentials_of_the_pod(controller: Controller) -> None:
    pod = controller.enter_pod()
    said = controller.refuses({"host": US}, **pod)
    assert mentions(said, "O(host)", US, "https://10.0.0.1:443")
    assert controller.resolve({"host": "https://10.0.0.1"}, **pod).server == "https://10.0.0.1"


def test_host_without_any_credentials(controller: Controller) -> None:
    said = controller.refuses({"host": US})
    assert mentions(said, "O(host)", "O(api_key)")
    assert mentions(said, "O(client_cert)", "O(client_key)")


def test_token_does_not_go_to_the_cluster_of_the_pod(controller: Controller) -> None:
    said = controller.refuses({"api_key": "sesame"}, **controller.enter_pod())
    assert mentions(said, "O(api_key)", "O(host)")


def test_token_for_the_current_context(controller: Controller) -> None:
    controller.add_kubeconfig()
    found = controller.resolve({"api_key": "sesame"})
    assert (found.server, user_of(found)) == (EU, {"token": "sesame"})


# Halves and contradictions


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (
            {"host": US, "client_cert": "/a"},
            ("O(client_cert)", "O(client_key)"),
        ),
        ({"client_key": "/a"}, ("O(client_key)", "O(client_cert)")),
        ({"username": "ann"}, ("O(username)", "O(password)")),
        ({"password": "sesame"}, ("O(password)", "O(username)")),
        (TOKEN | CERT, ("O(api_key)", "O(client")),
        ({"kubeconfig": "/a"} | CERT | BASIC, ("O(client",)),
        (
            TOKEN | {"context": "eu"},
            ("O(host)", "O(api_key)", "O(context)"),
        ),
        (TOKEN | {"kubeconfig": "/a"}, ("O(host)", "O(kubeconfig)")),
        (
            TOKEN | {"ca_cert": "/a", "validate_certs": False},
            ("O(ca_cert)", "O(validate_certs)"),
        ),
        (
            {"kubeconfig": kubeconfig(), "impersonate_groups": ["a"]},
            ("(a)", "O(impersonate_user)"),
        ),
        (
            {"kubeconfig": kubeconfig({"as": "ann", "as-uid": "1"})},
            ("as-uid",),
        ),
        (
            TOKEN | {"proxy_headers": {"basic_auth": "a:b"}},
            ("proxy_headers",),
        ),
        (
            TOKEN | {"host": "us.example.com"},
            ("variables (host)", "https://"),
        ),
        ({"kubeconfig": kubeconfig(cluster={"server": None})}, ("https://",)),
    ],
)
def test_settings_that_are_refused(
    controller: Controller, options: dict[str, object], facts: tuple[str, ...]
) -> None:
    assert mentions(controller.refuses(options), *facts)


@pytest.mark.parametrize(
    ("options", "environ", "facts"),
    [
        (
            {"context": "eu"},
            {"HOST": US},
            ("variables (context)", "K8S_AUTH_HOST"),
        ),
        (TOKEN, {"HOST": EU}, ("variables (api_key, host)", "K8S_AUTH_HOST")),
        (TOKEN, {"VERIFY_SSL": "true"}, ("variables (api_key, host)", "K8S_AUTH_VERIFY_SSL")),
        (
            TOKEN | {"validate_certs": False},
            {"VERIFY_SSL": "true"},
            ("validate_certs", "K8S_AUTH_VERIFY_SSL"),
        ),
        ({}, {"CERT_FILE": "/a"}, ("K8S_AUTH_CERT_FILE", "K8S_AUTH_CLIENT_KEY")),
        (
            {},
            {"HOST": US, "API_KEY": "sesame", "VERIFY_SSL": "False", "SSL_CA_CERT": "/a"},
            ("K8S_AUTH_VERIFY_SSL", "K8S_AUTH_SSL_CA_CERT"),
        ),
        ({}, {"HOST": US, "API_KEY": "sesame", "CONTEXT": "eu"}, ("K8S_AUTH_CONTEXT",)),
        ({}, {"PROXY_HEADERS_USER_AGENT": "a"}, ("proxy_headers",)),
        (
            {},
            {"CONTEXT": "eu", "VERIFY_SSL": "false"},
            ("K8S_AUTH_CONTEXT", "K8S_AUTH_VERIFY_SSL", "K8S_AUTH_VALIDATE_CERTS"),
        ),
        ({}, {"CONTEXT": "eu", "SSL_CA_CERT": "/a"}, ("K8S_AUTH_SSL_CA_CERT", "K8S_AUTH_CA_CERT")),
    ],
)
def test_environment_that_is_refused(
    controller: Controller,
    options: dict[str, object],
    environ: dict[str, str],
    facts: tuple[str, ...],
) -> None:
    said = controller.refuses(options, **{f"K8S_AUTH_{k}": v for k, v in environ.items()})
    assert mentions(said, *facts)


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (TOKEN, {"HOST": US}),
        (TOKEN | {"validate_certs": True}, {"VERIFY_SSL": "true"}),
        (
            TOKEN | {"impersonate_user": "a", "impersonate_groups": ["b", "c"]},
            {"IMPERSONATE_GROUPS": "b,c"},
        ),
        (TOKEN, {"KUBECONFIG": "/not/used"}),
    ],
)
def test_variables_and_environment_that_agree(
    controller: Controller, options: dict[str, object], environ: dict[str, str]
) -> None:
    found = controller.resolve(options, **{f"K8S_AUTH_{k}": v for k, v in environ.items()})
    assert found.server == US


# Proxies: the rules are tested in test_proxy.py


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, PROXY),
        ({"NO_PROXY": "example.com"}, PROXY),
        ({"K8S_AUTH_NO_PROXY": "example.com"}, ""),
        ({"K8S_AUTH_PROXY": "http://other"}, "http://other"),
    ],
)
def test_proxy_of_a_kubeconfig(
    controller: Controller, environ: dict[str, str], expected: str
) -> None:
    controller.add_kubeconfig(kubeconfig(cluster={"proxy-url": PROXY}))
    found = controller.resolve(None, **environ)
    assert found.proxy == expected
    assert cluster_of(found).get("proxy-url", "") == expected


def test_proxy_of_the_environment_is_written_for_both(controller: Controller) -> None:
    found = controller.resolve(TOKEN, HTTPS_PROXY=PROXY)
    assert (found.proxy, cluster_of(found)["proxy-url"]) == (PROXY, PROXY)
    assert controller.resolve(TOKEN, HTTPS_PROXY=PROXY, NO_PROXY="example.com").proxy == ""


def test_no_proxy_that_helm_would_not_follow(controller: Controller) -> None:
    environ = {"K8S_AUTH_HOST": US, "K8S_AUTH_API_KEY": "sesame", "HTTPS_PROXY": PROXY}
    said = controller.refuses(None, K8S_AUTH_NO_PROXY="us.example.com", **environ)
    assert mentions(said, "us.example.com", "NO_PROXY", "HTTPS_PROXY")


# Content of files as text, as fields of AWX, surveys and vaulted variables give it


CA_PEM = "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n"
CERT_PEM = CA_PEM.replace("Q0E=", "Q1JU")
KEY_PEM = "-----BEGIN PRIVATE KEY-----\nc2VzYW1l\n-----END PRIVATE KEY-----\n"
ONE_LINE = " ".join(KEY_PEM.split("\n"))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump(kubeconfig()),
        json.dumps(kubeconfig()),
        json.dumps(kubeconfig(), indent="\t"),
        f"\n---\n{yaml.safe_dump(kubeconfig())}\n",
    ],
    ids=["yaml", "json", "tabs", "document"],
)
@pytest.mark.parametrize("named", ["variable", "environment"])
def test_kubeconfig_as_text(controller: Controller, text: str, named: str) -> None:
    given = (text, {}) if named == "variable" else (None, {"K8S_AUTH_KUBECONFIG": text})
    found = controller.resolve({"kubeconfig": given[0]}, **given[1])
    assert (found.server, user_of(found)) == (EU, {"token": "of-eu"})
    names = {
        "variable": "variables (kubeconfig)",
        "environment": "environment (K8S_AUTH_KUBECONFIG)",
    }
    assert found.source == names[named]


def test_certificates_and_key_as_text(controller: Controller) -> None:
    texts = {"ca_cert": CA_PEM, "client_cert": CERT_PEM, "client_key": KEY_PEM}
    found = controller.resolve({"host": US} | texts)
    assert cluster_of(found) == {"server": US, "certificate-authority-data": encoded(CA_PEM)}
    assert user_of(found) == {
        "client-certificate-data": encoded(CERT_PEM),
        "client-key-data": encoded(KEY_PEM),
    }


def test_key_on_one_line_gets_its_lines_back(controller: Controller) -> None:
    """A field of one line replaces line breaks by spaces; others write them as \\n."""
    for text in (ONE_LINE, KEY_PEM.replace("\n", "\\n")):
        found = controller.resolve({"host": US, "client_cert": CERT_PEM, "client_key": text})
        assert user_of(found)["client-key-data"] == encoded(KEY_PEM)


def test_ca_cert_as_text_replaces_the_file(controller: Controller) -> None:
    cluster = cluster_of(controller.resolve({"kubeconfig": kubeconfig(), "ca_cert": CA_PEM}))
    assert cluster == {"server": EU, "certificate-authority-data": encoded(CA_PEM)}


WRONG_TEXTS = {
    "not yaml": ({"kubeconfig": "token: sesame\n\tx: ["}, "O(kubeconfig)"),
    "not a mapping": ({"kubeconfig": "sesame\nsesame"}, "O(kubeconfig)"),
    "broken json": ({"kubeconfig": '{"token": "sesame"'}, "O(kubeconfig)"),
    "token as kubeconfig": ({"kubeconfig": "sesame.sesame"}, "O(kubeconfig)"),
    "token with colons": ({"kubeconfig": "sesame:sesame"}, "O(kubeconfig)"),
    "base64 as kubeconfig": ({"kubeconfig": "/" + "sesame" * 99}, "O(kubeconfig)"),
    "token as ca": (TOKEN | {"ca_cert": "sesame"}, "O(ca_cert)"),
    "no pem": (CERT | {"host": US, "client_key": "sesame\nsesame"}, "O(client_key)"),
    "key as certificate": (TOKEN | {"ca_cert": f"{KEY_PEM}sesame"}, "O(ca_cert)"),
    "certificate as key": (
        {"host": US, "client_cert": CERT_PEM, "client_key": f"{CERT_PEM}sesame"},
        "O(client_key)",
    ),
    "path that has gone": (CERT | {"host": US, "client_key": "sesame"}, "O(client_key)"),
    "password in host": (TOKEN | {"host": "https://ann:sesame@us:6443"}, "variables (host"),
    "password with a slash": (TOKEN | {"host": "https://ann:se/sesame@us"}, "variables (host"),
    "port": (TOKEN | {"host": "https://us:sesame"}, "variables (host"),
    "query": (TOKEN | {"host": "https://us?token=sesame"}, "variables (host"),
    "token as host": (TOKEN | {"host": "sesame"}, "variables (host"),
    "proxy": (TOKEN | {"proxy": "http://ann:sesame@proxy:3128"}, "proxy"),
    "proxy with a slash": (TOKEN | {"proxy": "http://a/b:sesame@proxy:3128"}, "proxy"),
    "proxy without scheme": (TOKEN | {"proxy": "sesame"}, "proxy"),
    "token as proxy": (TOKEN | {"proxy": "sesame:sesame"}, "proxy"),
}


@pytest.mark.parametrize(("options", "named"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_values_of_options_are_not_in_messages(
    controller: Controller, options: dict[str, object], named: str
) -> None:
    """refuses() looks for the secret."""
    assert mentions(controller.refuses(options), named)


@pytest.mark.parametrize("name", ["CA_CERT", "SSL_CA_CERT", "CLIENT_CERT", "CLIENT_KEY"])
def test_environment_has_paths(controller: Controller, name: str) -> None:
    """The modules of kubernetes.core read it too, and take a text for a path."""
    environ = {"K8S_AUTH_HOST": US, "K8S_AUTH_API_KEY": "sesame"}
    said = controller.refuses(None, **environ, **{f"K8S_AUTH_{name}": f"{KEY_PEM}sesame"})
    assert mentions(said, f"K8S_AUTH_{name}")
