#!/bin/busybox sh
# The first program of an emulated machine: mounts its disk, puts this run's keys on it, and hands over to systemd.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do
  case $module in
    *.xz) xzcat "$module" >/module.ko && insmod /module.ko && rm /module.ko ;;
    *) insmod "$module" ;;
  esac
done
for try in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 1; done
mount -t ext4 -o noatime /dev/vda /disk || poweroff -f
cp /keys/host-key /disk/etc/ssh/host-key
chmod 600 /disk/etc/ssh/host-key
for home in /disk/root /disk/home/pi; do
  mkdir -p $home/.ssh
  cp /keys/authorized_keys $home/.ssh/authorized_keys
done
chown -R 1000:1000 /disk/home/pi/.ssh
umount /proc /sys
mount --move /dev /disk/dev
exec switch_root /disk /usr/lib/systemd/systemd
