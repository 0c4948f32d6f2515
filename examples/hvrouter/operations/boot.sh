#!/bin/bash
# Boots systemd in this network namespace, in a mount, process, host name, IPC and control group
# namespace of its own, over a copy of the host's file system that vanishes with it. $1 is
# an empty directory, $2 the name of the machine. Nothing that the host has enabled is started.
set -e
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- # such as a lock of who runs the test
dir=$1 name=$2
if [ -z "$3" ]; then
  mount --make-rprivate /
  mkdir -p "$dir/cgroup"
  mount -t cgroup2 cgroup2 "$dir/cgroup"
  mkdir -p "$dir/cgroup/hyperfib-$name"
  echo $$ >"$dir/cgroup/hyperfib-$name/cgroup.procs"
  exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc "$0" "$dir" "$name" inside
fi
mount -t tmpfs root "$dir"
mkdir -p "$dir"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
cd "$dir/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for each in run tmp dev; do mount -t tmpfs "$each" "$each"; done
for each in null zero full random urandom tty; do touch "dev/$each"; mount --bind "/dev/$each" "dev/$each"; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts dev/mqueue dev/hugepages
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
rm -rf etc/systemd/system/*.wants var/log/journal etc/hvrouter
for each in systemd-udevd.service systemd-udev-trigger.service systemd-tmpfiles-setup.service systemd-timesyncd.service systemd-modules-load.service \
  systemd-udevd-control.socket systemd-udevd-kernel.socket; do
  ln -sf /dev/null "etc/systemd/system/$each"
done
printf '[Unit]\nDescription=a machine of a test\n' >etc/systemd/system/machine.target
hostname "$name"
echo "$name" >etc/hostname
mkdir old
pivot_root . old
umount -l old
export container=hyperfib PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec /lib/systemd/systemd --system --unit=machine.target --log-target=console --log-level=info --show-status=0 --default-standard-output=inherit --default-standard-error=inherit
