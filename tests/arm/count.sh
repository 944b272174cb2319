#!/bin/sh
# count.sh STATE UPPER LAYERS COMMAND...: runs an emulator on a board's files, mounted for it alone at STATE/root.
set -eu
state=$1 upper=$2 layers=$3
shift 3
mount -t overlay board -o "ro,lowerdir=$upper:$layers" "$state/root"
mount --bind "$state/cpuinfo" /proc/cpuinfo
exec "$@"
