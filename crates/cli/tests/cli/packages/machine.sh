# Boots systemd in the namespaces of this shell, on a copy of the files of this machine. $1 is an empty folder.
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
root=$1/root
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in run tmp dev
do
    mount -t tmpfs -o mode=755 tmpfs "$root/$folder"
done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty
do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# Units that other tests or people have enabled here stay out.
rm -rf "$root/etc/systemd/system"
mkdir "$root/etc/systemd/system"
# Packages may start and stop units.
rm -f "$root/usr/sbin/policy-rc.d"
# The index of man pages takes seconds. The other folder may change while this machine runs.
rm -f "$root/var/lib/man-db/auto-update"
mount -t tmpfs tmpfs "$root/var/lib/dpkg/updates"
ip link set lo up
mkdir "$root/.old"
cd "$root"
# Not `chroot` alone: systemd binds `/` in another place for each confined unit.
pivot_root . .old
exec chroot . /bin/sh -c 'umount --lazy /.old
    rmdir /.old
    touch /run/booting
    exec env -i container=symbolon PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --unit=basic.target --show-status=no --log-level=warning'
