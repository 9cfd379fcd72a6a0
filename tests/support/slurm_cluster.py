"""A real Slurm of one node on this machine, for tests/workflow/test_slurm.py.

Daemons, keys, logs and state live in a scratch folder. Only slurm.conf and gres.conf lie where
Slurm looks for them, because the steps of a job are started without ``SLURM_CONF``. All daemons
listen on 127.0.0.1. The two GPUs are ``/dev/zero`` and ``/dev/full``: Slurm hands them out as it
would real ones, and torch finds no GPU behind them.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
CONFIGURATION = Path("/etc/slurm")
OURS = "# Written by tests/support/slurm_cluster.py; deleted when its test ends."
STATE = Path(tempfile.gettempdir()) / "compendium-slurm"
#: Seconds that any single wait may take.
PATIENCE = 180

SLURM_CONF = """{ours}
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
# The daemons bind to the addresses above and below, not to every one that the machine has.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# A requeued job waits until its old credential has expired: 2 minutes unless told otherwise.
AuthInfo=socket={state}/munge.socket,cred_expire=10
StateSaveLocation={state}/controller
SlurmdSpoolDir={state}/node
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MinJobAge=3600
KillWait=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
# The node may say that it has more memory than the machine: nothing is counted against it.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=500000 Gres=gpu:2
PartitionName=main Nodes=localhost Default=YES MaxTime=7-0 State=UP
"""
GRES_CONF = f"{OURS}\nName=gpu File=/dev/zero\nName=gpu File=/dev/full\n"


def why_not() -> str | None:
    """Why no cluster can be started here; None if one can."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        return (
            f"no Slurm: {', '.join(missing)} not found; `make test-slurm` installs them on Debian"
        )
    if os.geteuid():
        return "only root can write /etc/slurm/slurm.conf and start jobs as Slurm does"
    conf = CONFIGURATION / "slurm.conf"
    if conf.exists() and OURS not in conf.read_text():
        return f"{conf} belongs to another Slurm"
    return None


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return once the condition is true; ``TimeoutError`` that says what was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.2)


def said(*command: str) -> str:
    """What a command prints; it has to succeed."""
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout


def jobs(states: str = "all") -> dict[str, str]:
    """State of each job that Slurm remembers, by id."""
    lines = said("squeue", "--noheader", f"--states={states}", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)


def field(job: str, name: str) -> str:
    """One field of what Slurm knows of a job, such as ``Restarts`` or ``TresPerJob``."""
    found = re.search(rf"\b{name}=(\S*)", said("scontrol", "show", "job", job))
    return found[1] if found else ""


def listening() -> set[str]:
    """Local addresses, without ports, on which processes of Slurm accept connections."""
    lines = said("ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header")
    ours = [line for line in lines.splitlines() if re.search(r'"(slurm\w*|srun|munged)"', line)]
    return {line.split()[3].rpartition(":")[0] for line in ours}


def start() -> None:
    """Start a fresh cluster; what an earlier, killed test left is stopped first."""
    stop()
    for name in ("controller", "node"):
        (STATE / name).mkdir(parents=True)
    # munged refuses a key that others may read.
    (STATE / "munge.key").touch(mode=0o600)
    (STATE / "munge.key").write_bytes(os.urandom(64))
    CONFIGURATION.mkdir(exist_ok=True)
    configuration = SLURM_CONF.format(
        ours=OURS,
        state=STATE,
        ports=_free_ports(2),
        host=socket.gethostname().partition(".")[0],
        cpus=min(2, os.cpu_count() or 1),
    )
    (CONFIGURATION / "slurm.conf").write_text(configuration)
    (CONFIGURATION / "gres.conf").write_text(GRES_CONF)
    _daemon(
        "munged", "--foreground", "--force", f"--key-file={STATE}/munge.key",
        f"--socket={STATE}/munge.socket", f"--pid-file={STATE}/munge.pid",
        f"--seed-file={STATE}/munge.seed",
    )  # fmt: skip
    wait_for((STATE / "munge.socket").exists, "munged")
    _daemon("slurmctld", "-D")
    _daemon("slurmd", "-D", "-N", "localhost")
    wait_for(lambda: "idle" in _sinfo(), "the node")


def stop() -> None:
    """Cancel all jobs, end the daemons by the ids they were started with, delete their files."""
    conf = CONFIGURATION / "slurm.conf"
    ours = conf.exists() and OURS in conf.read_text()
    if ours and "localhost" in _sinfo():
        subprocess.run(
            ["scancel", "--user=root"], capture_output=True, check=False, timeout=PATIENCE
        )
        wait_for(lambda: not jobs("running,completing"), "cancelled jobs to end")
    for path in STATE.glob("*.started"):
        _end(path.stem, int(path.read_text()))
    if ours:
        conf.unlink()
        (CONFIGURATION / "gres.conf").unlink(missing_ok=True)
    shutil.rmtree(STATE, ignore_errors=True)


def _sinfo() -> str:
    asked = ["sinfo", "--noheader", "--format=%n %t"]
    return subprocess.run(
        asked, capture_output=True, text=True, check=False, timeout=PATIENCE
    ).stdout


def _daemon(*command: str) -> None:
    with open(STATE / f"{command[0]}.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    (STATE / f"{command[0]}.started").write_text(str(process.pid))


def _end(name: str, pid: int) -> None:
    def alive() -> bool:
        try:
            # Its name says that the id is not another process's by now; Z: it has ended.
            status = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            return False
        return f"({name[:15]})" in status and status.rpartition(")")[2].split()[0] != "Z"

    for sent in (signal.SIGTERM, signal.SIGKILL):
        if alive():
            os.kill(pid, sent)
        try:
            wait_for(lambda: not alive(), f"{name} to end", 20)
        except TimeoutError:
            continue
        return


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found
