"""A real Slurm of one node on this machine, for tests/workflow/test_slurm.py.

Daemons, keys, logs and state live in a scratch folder. Only slurm.conf and gres.conf lie where
Slurm looks for them, because the steps of a job are started without ``SLURM_CONF``. All daemons
listen on 127.0.0.1. The two GPUs are ``/dev/zero`` and ``/dev/full``: Slurm hands them out as it
would real ones, and torch finds no GPU behind them.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
from support.batches import wait_for

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


def said(*command: str, check: bool = True) -> str:
    """What a command prints; it has to succeed if that is to be checked."""
    done = subprocess.run(command, capture_output=True, text=True, check=check, timeout=PATIENCE)
    return done.stdout


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
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith(("slurm", "srun", "munged")):
                open_ones = process.net_connections("tcp")
                found |= {one.laddr.ip for one in open_ones if one.status == psutil.CONN_LISTEN}
    return found


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
        said("scancel", "--user=root", check=False)
        wait_for(lambda: not jobs("running,completing"), "cancelled jobs to end")
    for path in STATE.glob("*.started"):
        with contextlib.suppress(psutil.NoSuchProcess):
            daemon = psutil.Process(int(path.read_text()))
            # Its name says that the id is not another process's by now.
            if daemon.name() == path.stem:
                daemon.terminate()
                for hanging in psutil.wait_procs([daemon], 20)[1]:
                    hanging.kill()
    if ours:
        conf.unlink()
        (CONFIGURATION / "gres.conf").unlink(missing_ok=True)
    shutil.rmtree(STATE, ignore_errors=True)


def _sinfo() -> str:
    return said("sinfo", "--noheader", "--format=%n %t", check=False)


def _daemon(*command: str) -> None:
    with open(STATE / f"{command[0]}.log", "w") as log:
        process = psutil.Popen(command, stdout=log, stderr=log, start_new_session=True)
    (STATE / f"{command[0]}.started").write_text(str(process.pid))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]
