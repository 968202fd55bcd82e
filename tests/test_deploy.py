"""What deploys the app, against the code: the lock, the installation, the image, the service and the proxies."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from annotation.dialects import parsed_url
from core.pinned import OFFICIAL
from core.settings import SETTINGS, Settings
from tests.test_docs import release
from tests.test_house import plain, requirements
from webapp.bodies import UPLOAD, Bodies

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
IMAGE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICE = (DEPLOY / "musiceval.service").read_text(encoding="utf-8")
NGINX = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
CADDY = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
HERE = f"127.0.0.1:{Settings().port}"
SITE = "music.example.org"


def locked() -> dict[str, tuple[str, int]]:
    """Distribution to version and number of hashes."""
    entries = re.findall(
        r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)((?: \\\n +--hash=sha256:[0-9a-f]{64})*)", LOCK, re.MULTILINE
    )
    return {plain(name): (version, hashes.count("--hash")) for name, version, hashes in entries}


def allowed(version: str, within: str) -> bool:
    """Whether a version is in a range as requirements.txt writes it: ``==2.12.*`` or ``>=1.1,<2``."""
    if within.startswith("=="):
        return version.startswith(within[2:-1])
    lowest, above = (release(one) for one in within.removeprefix(">=").split(",<"))
    return lowest <= release(version) < above


def test_the_lock_has_every_requirement_at_an_allowed_version() -> None:
    versions = {name: version for name, (version, _) in locked().items()}
    wanted = requirements("requirements.txt") | requirements("requirements-postgres.txt")
    assert [name for name, within in wanted.items() if not allowed(versions.get(name, "0"), within)] == []


def test_every_entry_of_the_lock_has_a_hash() -> None:
    lines = [line for line in LOCK.splitlines() if line and line[0] not in "# "]
    assert len(lines) == len(locked())
    assert [name for name, (_, hashes) in locked().items() if not hashes] == []
    assert "://" not in LOCK


def test_the_cpu_variant_adds_an_index_alone() -> None:
    lines = (ROOT / "requirements-cpu.txt").read_text(encoding="utf-8").splitlines()
    index = re.search(r"TORCH_INDEX:-([^}]+)", (DEPLOY / "install.sh").read_text(encoding="utf-8"))
    assert index
    assert [line for line in lines if not line.startswith("#")] == [
        f"--extra-index-url {index[1]}",
        "-r requirements.txt",
    ]


STAND_IN = """#!/bin/sh
# In place of Python: notes what pip is asked to do, and keeps the lock and the source that it is given.
set -eu
echo "$*" >>"$NOTED"
for last; do :; done
case "$*" in
  *"-m venv"*) mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
  *"-r "*) cp "$last" "$NOTED.${last##*/}" ;;
  *--force-reinstall*) ls "$last" >"$NOTED.source" ;;
esac
"""


def install(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script with a stand-in for Python; also return the calls of pip."""
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(python), "NOTED": str(tmp_path / "noted")}
    command = ["sh", str(DEPLOY / "install.sh"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    noted = (tmp_path / "noted").read_text() if (tmp_path / "noted").exists() else ""
    return done, [line.split("check ", 1)[1] for line in noted.splitlines() if "check install" in line]


def test_without_cuda_nothing_else_is_left_out(tmp_path: Path) -> None:
    done, (torch, builder, rest, own) = install(tmp_path, str(tmp_path / "there"))
    assert done.returncode == 0, done.stderr
    names = {name: locked()[name][0] for name in ("torch", "torchvision")}
    assert torch.endswith(" ".join(f"{name}=={version}+cpu" for name, version in names.items()))
    assert all("--require-hashes" in call for call in (builder, rest))
    assert (tmp_path / "noted.builder").read_text().startswith(f"setuptools=={locked()['setuptools'][0]} ")
    kept = set(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==", (tmp_path / "noted.lock").read_text(), re.MULTILINE))
    left_out = locked().keys() - {plain(name) for name in kept}
    assert {"torch", "torchvision", "triton"} <= left_out
    assert {name for name in left_out if not name.startswith(("nvidia-", "cuda-"))} == {
        "torch",
        "torchvision",
        "triton",
    }
    assert not own.endswith(str(ROOT))
    assert {"annotation", "core", "webapp"} <= set((tmp_path / "noted.source").read_text().split())


def test_with_cuda_the_whole_lock_is_installed(tmp_path: Path) -> None:
    done, calls = install(tmp_path, str(tmp_path / "there"), "cuda")
    assert (done.returncode, len(calls)) == (0, 3), done.stderr
    assert (tmp_path / "noted.lock").read_text() == LOCK


@pytest.mark.parametrize("arguments", [(), ("there", "gpu")])
def test_a_wrong_call_installs_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done, calls = install(tmp_path, *arguments)
    assert (done.returncode, calls) == (2, [])
    assert done.stderr


def settings_of(text: str, pattern: str) -> dict[str, str]:
    return dict(re.findall(pattern, text, re.MULTILINE))


FILES = ("Dockerfile", *sorted(f"deploy/{path.name}" for path in DEPLOY.iterdir()))


@pytest.mark.parametrize("file", FILES)
def test_every_setting_that_is_named_is_one(file: str) -> None:
    named = set(re.findall(r"\bMUSICEVAL_[A-Z_]+", (ROOT / file).read_text(encoding="utf-8")))
    assert named <= {setting.name for setting in SETTINGS}


def instructions(name: str) -> list[str]:
    """What follows an instruction in the last stage of the image."""
    return re.findall(rf"^{name} +(.*)", IMAGE.rpartition("\nFROM ")[2], re.MULTILINE)


def test_the_image_runs_the_app_as_nobody_special() -> None:
    given = settings_of(" ".join(instructions("ENV")), r"(MUSICEVAL_\w+)=(\S+)")
    settings = Settings.from_environment(given)
    assert (settings.host, settings.port) == ("0.0.0.0", Settings().port)
    assert instructions("EXPOSE") == [str(settings.port)]
    assert instructions("VOLUME") == [str(settings.data)]
    (user,) = instructions("USER")
    assert int(user) > 0
    assert f"--uid {user} " in IMAGE
    assert instructions("CMD") == ['["musiceval", "app"]']
    (check,) = re.findall(r"HEALTHCHECK.*urlopen\('([^']+)'", IMAGE)
    assert check == f"http://{HERE}/health"


def test_the_image_is_built_by_the_script_of_what_it_needs() -> None:
    script = (DEPLOY / "install.sh").read_text(encoding="utf-8")
    assert re.search(r"^RUN .*sh deploy/install\.sh /opt/musiceval cpu$", IMAGE, re.MULTILINE)
    parts = re.findall(r"^for part in (.*); do$", script, re.MULTILINE)[0].split()
    copied = {word for line in re.findall(r"^COPY (?!--)(.*) \S+$", IMAGE, re.MULTILINE) for word in line.split()}
    assert copied == {*parts, "requirements.lock", "deploy/install.sh"}
    let_in = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(let_in) == copied
    python = re.findall(r"^FROM python:(\d\.\d+)-", IMAGE, re.MULTILINE)
    assert python in (["3.11"] * 2, ["3.12"] * 2)


def filled(environment: dict[str, str]) -> dict[str, str]:
    """An environment whose `${NAME:-default}` have their defaults."""
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in environment.items()}


def test_the_composition_is_one_app_behind_one_proxy() -> None:
    app, proxy = COMPOSE["services"]["app"], COMPOSE["services"]["proxy"]
    settings = Settings.from_environment(filled(app["environment"]))
    assert settings.database_url == f"sqlite:///{instructions('VOLUME')[0]}/musiceval.sqlite"
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert settings.trusted_proxies == network["subnet"]
    assert (DEPLOY / app["build"]).resolve() == ROOT
    assert "ports" not in app
    assert app["volumes"] == [f"data:{instructions('VOLUME')[0]}"]
    assert proxy["environment"]["APP"] == f"app:{Settings().port}"
    mounted = [volume.split(":") for volume in proxy["volumes"]]
    kept = {place for place, *_ in mounted if not place.startswith("./")}
    assert kept | {"data", "database"} == COMPOSE["volumes"].keys()
    assert all((DEPLOY / place).is_file() for place, *_ in mounted if place.startswith("./"))


def test_the_compositions_database_is_there_where_it_is_asked_for() -> None:
    app, database = COMPOSE["services"]["app"], COMPOSE["services"]["database"]
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    (profile,), (url,) = (
        re.findall(rf"^# +{name}=(\S+)$", text, re.MULTILINE) for name in ("COMPOSE_PROFILES", "DATABASE_URL")
    )
    assert database["profiles"] == [profile]
    named, parsed = database["environment"], parsed_url(url)
    assert (parsed.host, parsed.database, parsed.username) == ("database", named["POSTGRES_DB"], named["POSTGRES_USER"])
    assert app["depends_on"] == {"database": {"condition": "service_healthy", "required": False}}
    assert database["volumes"][0].startswith("database:")
    assert "ports" not in database


def test_the_service_writes_to_its_own_folders_alone() -> None:
    lines = settings_of(SERVICE, r"^(\w+)=(.*)$")
    settings = Settings.from_environment(settings_of(SERVICE, r"^Environment=(MUSICEVAL_\w+)=(.*)$"))
    assert settings.data == Path("/var/lib") / lines["StateDirectory"]
    assert settings.host == "127.0.0.1"
    assert f"/var/cache/{lines['CacheDirectory']}" in SERVICE
    assert lines["User"] not in ("root", "")
    wanted = {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "UMask": "0077"}
    assert wanted.items() <= lines.items()


def test_the_proxies_pass_on_what_the_server_believes_and_needs() -> None:
    directives = dict(re.findall(r"^ {4,8}(\w+(?: [A-Z][\w-]+)?) +([^;\n]+);", NGINX, re.MULTILINE))
    assert directives["proxy_pass"] == "http://musiceval"
    assert f"    server {HERE};" in NGINX
    assert "hash $remote_addr consistent;" in NGINX  # as docs/deploy.md says of several servers
    assert "lb_policy ip_hash" in CADDY
    assert directives["proxy_set_header Host"] == "$http_host"
    assert directives["proxy_set_header X-Forwarded-For"] == "$remote_addr"  # not $proxy_add_x_forwarded_for
    assert directives["proxy_set_header X-Forwarded-Proto"] == "$scheme"
    assert directives["proxy_buffering"] == "off"
    assert f"{{$APP:{HERE}}}" in CADDY
    assert "flush_interval -1" in CADDY
    assert "header_up" not in CADDY  # what Caddy does by itself is right


# Of https://huggingface.co/docs/hub/spaces-config-reference, what is set here; an unknown key is passed over there.
FRONT_MATTER = {
    *{"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "license"},
    *{"short_description", "suggested_hardware", "startup_duration_timeout", "hf_oauth", "preload_from_hub", "tags"},
}
HARDWARE = {
    "cpu-basic",
    "cpu-upgrade",
    "t4-small",
    "t4-medium",
    "l4x1",
    "l4x4",
    "a10g-small",
    "a10g-large",
    "a100-large",
}
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def test_the_front_matter_is_what_a_space_knows_and_the_document_says() -> None:
    front = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert set(front) == FRONT_MATTER
    assert {front["colorFrom"], front["colorTo"]} <= COLORS
    assert front["suggested_hardware"] in HARDWARE
    assert re.fullmatch(r"\d+[mh]", front["startup_duration_timeout"])
    assert front["hf_oauth"] is True
    assert (ROOT / front["app_file"]).is_file()
    assert allowed(front["sdk_version"], requirements("requirements.txt")["gradio"])
    (first, second) = OFFICIAL.tokenizer  # the embedded judge fetches nothing
    assert front["preload_from_hub"] == [f"{first.repository} {first.name},{second.name} {first.revision}"]
    said = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8").split("## A Hugging Face Space")[1]
    for value in (front["suggested_hardware"], front["startup_duration_timeout"], "hf_oauth: true"):
        assert f"`{value}`" in said


async def _nobody(*_: object) -> None: ...


def test_the_proxies_let_through_what_the_server_does() -> None:
    bodies = Bodies(_nobody, Settings().max_bytes, 0, 1)
    largest = bodies._largest[UPLOAD]
    (nginx,) = re.findall(r"client_max_body_size (\d+)m;", NGINX)
    (caddy,) = re.findall(r"max_size (\d+)MB$", CADDY, re.MULTILINE)
    assert (int(nginx), int(caddy)) == (largest // 1_000_000,) * 2


def program(name: str) -> str:
    """Where a program is; it may stand where only root looks."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    return found or pytest.skip(f"{name} is not installed")


def passes(*command: str, **environment: str) -> None:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_nginx_takes_its_file(tmp_path: Path) -> None:
    nginx = program("nginx")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", f"/CN={SITE}", "-keyout", str(key), "-out", str(certificate))
    passes("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    site = NGINX.replace(f"/etc/ssl/{SITE}.pem", str(certificate)).replace(f"/etc/ssl/{SITE}.key", str(key))
    (tmp_path / "site.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = " ".join(f"{kind}_temp_path {tmp_path / kind};" for kind in kinds)
    main = f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {own} include {tmp_path}/site.conf; }}"
    (tmp_path / "nginx.conf").write_text(main)
    passes(nginx, "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf"))


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, {"SITE": "music.example.net", "APP": "app:7860"}])
def test_caddy_takes_its_file(tmp_path: Path, environment: dict[str, str]) -> None:
    homes = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = ("validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile"))
    passes(program("caddy"), *command, **homes, **environment)


@pytest.mark.slow
def test_systemd_takes_the_service_and_finds_little_exposed(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    unit = tmp_path / "musiceval.service"
    unit.write_text(SERVICE.replace("/opt/musiceval/bin/musiceval", "/bin/true"))  # it need not be installed here
    passes(analyze, "verify", str(unit))
    passes(analyze, "security", "--offline=true", "--threshold=25", str(unit))


def small_source(folder: Path, names: tuple[str, ...]) -> Path:
    """A copy of what is installed, with a lock of a few dependencies."""
    parts = ("pyproject.toml", "requirements.txt", "README.md", "LICENSE", "core", "annotation", "webapp", "deploy")
    for part in parts:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    entries = [re.search(rf"^{name}==(?:.*\n(?: .*\n)+)", LOCK, re.MULTILINE) for name in names]
    (folder / "requirements.lock").write_text("".join(entry[0] for entry in entries if entry))
    return folder / "deploy" / "install.sh"


@pytest.mark.slow
def test_a_fresh_environment_is_made_and_a_wrong_hash_is_refused(tmp_path: Path) -> None:
    """With few dependencies: `pip check` at the end, which finds the others missing, is what fails."""
    source = tmp_path / "source"
    source.mkdir()
    script = small_source(source, ("click", "setuptools"))
    command = ["sh", str(script), str(tmp_path / "there"), "cuda"]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert "Successfully installed musiceval" in done.stdout
    assert done.returncode != 0
    assert "which is not installed" in done.stdout
    assert (tmp_path / "there" / "bin" / "musiceval").is_file()
    assert not list(source.rglob("*.egg-info"))

    lock = source / "requirements.lock"
    wrong = hashlib.sha256(b"another file").hexdigest()
    lock.write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{wrong}", lock.read_text()))
    command[2] = str(tmp_path / "elsewhere")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode != 0
    assert "HASH" in done.stderr
    assert not (tmp_path / "elsewhere" / "bin" / "musiceval").exists()
