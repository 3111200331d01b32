#!/usr/bin/env bash
# Boots a systemd of its own and lets drill.sh install, use, upgrade and remove the packages there. The machine's root is
# below it, with all changes in memory, and its network has a loopback only, so the machine itself sees nothing of it.
# Needs root, systemd-nspawn (apt-get install systemd-container) and the programs of PostgreSQL.
#
#   run.sh OLD NEW     two directories that scripts/release.sh made; ends with 77 where no systemd can be booted
set -euo pipefail
cd "$(dirname "$0")/../.."
old=$(realpath "$1") new=$(realpath "$2") drill=$(realpath tests/package/drill.sh)

if [ "${DRILL_MOUNTS:-}" != own ]; then
	# What is mounted is gone with this process.
	DRILL_MOUNTS=own exec unshare --mount --propagation private "$(realpath tests/package/run.sh)" "$old" "$new"
fi
mount -t tmpfs tmpfs /mnt
mount -t tmpfs tmpfs /run
mkdir -p /mnt/up /mnt/work /mnt/root /mnt/shared
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
cp "$old"/*.deb /mnt/shared/old.deb
cp "$new"/*.deb /mnt/shared/new.deb
cp "$new"/*.rpm /mnt/shared/new.rpm
cp "$drill" /mnt/shared/drill.sh
root=/mnt/root
rm -rf $root/etc/machine-id $root/etc/credstore $root/etc/waybill $root/var/lib/waybill $root/var/lib/private/waybill

# Only what the drill needs is started, not what the machine has enabled.
cat >$root/etc/systemd/system/drill.target <<-UNIT
	[Unit]
	Requires=basic.target drill.service
	After=basic.target
UNIT
cat >$root/etc/systemd/system/drill.service <<-UNIT
	[Unit]
	After=basic.target
	[Service]
	Type=oneshot
	ExecStart=/bin/bash /shared/drill.sh
	ExecStopPost=/bin/systemctl --no-block exit
	StandardOutput=file:/shared/log
	StandardError=file:/shared/log
UNIT
for unit in systemd-networkd-wait-online.service NetworkManager-wait-online.service ssh.service cron.service nginx.service pgbouncer.socket epmd.socket postgresql.service; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
timeout 300 systemd-nspawn --quiet --directory $root --bind /mnt/shared:/shared --private-network --register=no --keep-unit \
	--console=pipe --boot systemd.unit=drill.target >/mnt/boot 2>&1 </dev/null || true
if ! [ -e /mnt/shared/log ]; then
	tail -n 40 /mnt/boot
	exit 77 # no systemd can be booted here
fi
cat /mnt/shared/log
[ -e /mnt/shared/passed ]
