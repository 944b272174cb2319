#!/bin/sh
# enter.sh LAYERS STATE CORE: becomes the sshd of a user-land, in namespaces of its own, so that its mounts end with it.
set -eu
layers=$1 state=$2 core=$3
mount -t overlay board -o "lowerdir=$layers,upperdir=$state/upper,workdir=$state/work" "$state/root"
cd "$state/root"
mount -t proc proc proc
# Libraries choose their kernels by these two; without /sys XNNPACK is left out in silence.
mount --bind "$state/cpuinfo" proc/cpuinfo
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
mkdir run/sshd
hostname board
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin QEMU_CPU="$core" \
  chroot . /usr/sbin/sshd -D -e -f /etc/ssh/sshd_board
