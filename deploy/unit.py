"""The systemd unit of a release: it may read the system, write its own folder and use the camera, and nothing else."""

from __future__ import annotations

from apps.service import NOT_WANTED
from deploy.board.layout import CURRENT, PATIENCE_S, STATE, STEPS_BACK, TURN
from deploy.settings import Settings

# Options of the live app that name a file of the service's own.
OFFERED = {"--token-file": "token", "--state": "state.json"}
# Older ones know no growing pause between restarts.
_BACK_OFF = 254
_UNIT = """\
[Unit]
Description=Edgewren live detections, release {id}
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.service.html
After=edgewren.service network.target
PartOf=edgewren.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={python} -m apps.live {arguments}
Environment=PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME={state}
# Its turn comes when the link leads to it, and ends with a signal; one not wanted for so many seconds ends for good.
Environment=EDGEWREN_TURN={turn} EDGEWREN_CURRENT={current} EDGEWREN_RELEASE={folder} EDGEWREN_PATIENCE={patience}
Environment={step_back}
WorkingDirectory={state}
StateDirectory=edgewren
StateDirectoryMode=0700
UMask=0077
User=edgewren
Group=edgewren
SupplementaryGroups=video
Restart=always
RestartPreventExitStatus={not_wanted}
SuccessExitStatus={not_wanted}
RestartSec=1
{back_off}WatchdogSec=30
TimeoutStartSec=120
TimeoutStopSec=10
MemoryMax=75%
TasksMax=128
OOMScoreAdjust=300

# Only cameras, and what tells the heat of a Raspberry Pi.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=/dev/vcio rw
{csi}
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
PrivateIPC=yes
TemporaryFileSystem=/dev/shm:mode=1777
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX{netlink}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallErrorNumber=EPERM
# What is above leaves /run writable where systemd 252 runs in a container.
ReadOnlyPaths=/run
InaccessiblePaths=-/boot -/root -/mnt -/media -/srv -/dev/mqueue
"""
# libcamera allocates its buffers there and learns of cameras from udev.
_CSI = "DeviceAllow=char-dma_heap rw\nDeviceAllow=char-drm rw\n"


def unit_text(release: str, model_name: str, settings: Settings, systemd: int, known: frozenset[str]) -> str:
    """The unit of a release.

    Args:
        release: Its id, or ``{id}`` while that is not known.
        model_name: The model's file name.
        settings: What runs.
        systemd: The board's version; older ones know no growing pause between restarts.
        known: Which of ``OFFERED`` the live app takes.
    """
    folder = f"/opt/edgewren/releases/{release}"
    csi = settings.camera == "csi"
    words = [f"{folder}/{model_name}", settings.source]
    if settings.port:
        words.append(f"http://0.0.0.0:{settings.port}")
    words += [f"{option} {STATE / name}" for option, name in OFFERED.items() if option in known]
    # In a unit, % begins a specifier.
    arguments = " ".join((*words, *settings.options)).replace("%", "%%")
    return _UNIT.format(
        id=release,
        state=STATE,
        turn=TURN,
        current=CURRENT,
        folder=folder,
        not_wanted=NOT_WANTED,
        patience=PATIENCE_S,
        step_back=STEPS_BACK,
        python=f"{folder}/.venv/bin/python",
        arguments=arguments,
        back_off="RestartSteps=6\nRestartMaxDelaySec=60\n" if systemd >= _BACK_OFF else "",
        csi=_CSI if csi else "",
        netlink=" AF_NETLINK" if csi else "",
    )
