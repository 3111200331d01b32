#!/bin/sh
# After an installation or an upgrade. Debian calls it with "configure" and, when there was one, the version before; RPM
# with the number of versions that are installed now.
set -e
if [ ! -d /run/systemd/system ]; then
	exit 0
fi
systemctl daemon-reload
if [ -n "${2:-}" ] || [ "${1:-}" = 2 ]; then
	# What runs goes on with this version; each migrates the database before it starts.
	systemctl try-restart 'waybill@*.service'
fi
