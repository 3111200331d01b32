#!/usr/bin/env bash
# The life of the packages under a real systemd: installed, started, used, upgraded under load, removed. run.sh starts it.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root
cd /shared
step() { printf 'package: %3d s  %s\n' "$SECONDS" "$*"; }
die() {
	step "FAILED: $*"
	journalctl --no-pager -n 40 -u 'waybill@*' || true
	exit 1
}
trap 'die "line $LINENO: $BASH_COMMAND"' ERR

api=http://127.0.0.1:3000 key=wb_of_the_drill_0123456789
# publish prints the answer of a published event, once it is delivered to its Echo inbox.
publish() {
	curl -sS --max-time 20 "$api/api/v1/publish" -H "Authorization: Bearer $key" -H "Prefer: wait=10" \
		-d "{\"tenant_id\": \"acme\", \"id\": \"$1\", \"topic\": \"order.created\", \"data\": {\"order\": 1}}"
}
ready() { timeout 60 bash -c "until curl -fsS $api/readyz >/dev/null 2>&1; do sleep 0.1; done" || die "$1 is not ready"; }
# tenant makes the tenant and its Echo inbox.
tenant() {
	curl -fsS -X PUT "$api/api/v1/tenants/acme" -H "Authorization: Bearer $key" -d '{}' >/dev/null
	curl -fsS -X POST "$api/api/v1/tenants/acme/destinations" -H "Authorization: Bearer $key" -d '{"type": "echo", "topics": "*"}' >/dev/null
}
published() {
	local said
	said=$(publish "$1")
	grep -q '"status":"delivered"' <<<"$said" || die "$1 is not delivered: $said"
}

step "install"
dpkg -i old.deb >/dev/null
[ "$(waybill version)" = v0.9.0 ]
systemd-analyze verify /usr/lib/systemd/system/waybill@.service

step "use all in one, with a private PostgreSQL"
mkdir -m 0700 /etc/credstore
printf '%s\n' "$key" >/etc/credstore/waybill.API_KEY
systemctl start waybill@serve
ready serve
tenant
published evt_private
systemctl stop waybill@serve
[ "$(systemctl show -P Result waybill@serve)" = success ] || die "serve did not stop cleanly"

step "use web and work, with a PostgreSQL server and secrets in /etc/credstore"
bin=$(dirname "$(compgen -G "/usr/lib/postgresql/*/bin/postgres" | tail -n 1)")
id postgres >/dev/null 2>&1 || useradd --system postgres
install -d -o postgres /pg
runuser -u postgres -- "$bin/initdb" -D /pg/data -A trust -U waybill >/dev/null
trap 'runuser -u postgres -- "$bin/pg_ctl" -D /pg/data -m immediate stop >/dev/null' EXIT
runuser -u postgres -- "$bin/pg_ctl" -D /pg/data -w -o "-k /pg -c listen_addresses=127.0.0.1" -l /pg/log start >/dev/null
echo "postgres://waybill@127.0.0.1:5432/postgres" >/etc/credstore/waybill.DATABASE_URL
echo "the secret key of the drill, which nobody else has" >/etc/credstore/waybill.SECRET_KEY
chmod 600 /etc/credstore/*
echo 'METRICS_ADDR=' >>/etc/waybill/waybill.env
systemctl enable --now waybill@web waybill@work 2>/dev/null
ready web
tenant
published evt_first

step "look at the sandbox"
pid=$(systemctl show -P MainPID waybill@web)
[ "$(stat -c %u "/proc/$pid")" -ge 61184 ] || die "the process is user $(stat -c %U "/proc/$pid")"
for line in "NoNewPrivs:1" "Seccomp:2" "CapEff:0000000000000000" "CapBnd:0000000000000000"; do
	tr -d '\t' <"/proc/$pid/status" | grep -qx "$line" || die "no $line"
done
! tr '\0' '\n' <"/proc/$pid/environ" | grep -qE '^(SECRET_KEY|DATABASE_URL|API_KEY)=' || die "a secret is in the environment"
for dir in /etc /usr/bin /var/lib /var/lib/postgresql; do
	! nsenter --target "$pid" --mount touch "$dir/x" 2>/dev/null || die "$dir can be written"
done
score=$(systemd-analyze security --no-pager waybill@web | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
step "systemd-analyze security says $score of 10"
awk "BEGIN { exit !($score < 2) }"

step "upgrade, while somebody publishes"
touch /tmp/accepted
(
	n=0
	while [ ! -e /tmp/stop ]; do
		n=$((n + 1))
		if publish "evt_load_$n" 2>/dev/null | grep -q '"id":"evt_load_'; then echo "evt_load_$n $EPOCHREALTIME" >>/tmp/accepted; fi
	done
) &
load=$!
timeout 20 bash -c 'until [ "$(wc -l </tmp/accepted)" -ge 20 ]; do sleep 0.1; done'
dpkg -i new.deb >/dev/null
ready web
published evt_after
touch /tmp/stop
wait $load
[ "$(waybill version)" = v0.9.1 ]
for unit in web work; do
	[ "$(systemctl is-active waybill@$unit)" = active ]
	[ "$(readlink "/proc/$(systemctl show -P MainPID waybill@$unit)/exe")" = /usr/bin/waybill ] || die "$unit runs the old program"
done
grep -qx 'METRICS_ADDR=' /etc/waybill/waybill.env || die "the settings are lost"
step "the longest pause was $(awk 'NR > 1 && $2 - last > most { most = $2 - last } { last = $2 } END { printf "%.1f", most }' /tmp/accepted) s"
step "all $(wc -l </tmp/accepted) accepted events are delivered"
while read -r event _; do
	timeout 20 bash -c "until curl -fsS '$api/api/v1/events/$event/deliveries?tenant_id=acme' -H 'Authorization: Bearer $key' | grep -q '\"status\":\"delivered\"'; do sleep 0.2; done" ||
		die "$event was accepted and is not delivered"
done </tmp/accepted
DATABASE_URL=$(cat /etc/credstore/waybill.DATABASE_URL) SECRET_KEY_FILE=/etc/credstore/waybill.SECRET_KEY waybill doctor >/tmp/doctor || die "doctor: $(cat /tmp/doctor)"

step "remove"
dpkg -r waybill >/dev/null 2>&1
[ ! -e /usr/bin/waybill ]
! systemctl is-active --quiet 'waybill@*' || die "it still runs"
! curl -fsS $api/healthz >/dev/null 2>&1 || die "it still answers"
[ ! -e /etc/systemd/system/multi-user.target.wants/waybill@web.service ] || die "it is still enabled"
[ -e /etc/waybill/waybill.env ] || die "the settings went with the program"
dpkg -P waybill >/dev/null 2>&1
[ ! -e /etc/waybill/waybill.env ]
[ -d /var/lib/private/waybill ] || die "the data is gone"

step "install, list and remove the RPM package"
mkdir /rpm
rpm --root /rpm --initdb
rpm --root /rpm -i --nodeps --noscripts --ignorearch new.rpm
[ "$(rpm --root /rpm -q --qf '%{VERSION} %{SUMMARY}' waybill)" = "0.9.1 Event destinations server" ]
[ "$(/rpm/usr/bin/waybill version)" = v0.9.1 ]
diff <(cd /rpm && find etc usr -type f | sort) <(dpkg-deb -c new.deb | awk '!/\/$/ { print substr($6, 3) }' | sort)
rpm --root /rpm -e --noscripts waybill
[ ! -e /rpm/usr/bin/waybill ]

touch passed
step "passed"
