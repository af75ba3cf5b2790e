#!/bin/sh
# Starts PostgreSQL and three replicas of dray on this machine, without containers, kills the one that runs a mapping, and shows by dray status
# what the others make of it. It needs dray in PATH and PostgreSQL's programs, and leaves nothing behind.
#
#   ./try.sh SOURCE TARGET TAG        # ./try.sh docker.io/library/busybox registry.example.com/busybox latest
set -eu

[ $# -eq 3 ] || { echo "usage: $0 SOURCE TARGET TAG" >&2; exit 2; }
source=$1 target=$2 tag=$3

bin=$(dirname "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | tail -n 1)")
dir=$(mktemp -d /tmp/replicas.XXXXXX) # short, as a socket's path is
running=
finish() {
	trap - EXIT INT TERM
	for pid in $running; do kill "$pid" 2>/dev/null || true; done
	as pg_ctl stop -D "$dir/data" -m immediate >/dev/null 2>&1 || true
	wait
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

# as runs one of PostgreSQL's programs, which refuse root.
as() {
	program=$1
	shift
	if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --clear-groups "$bin/$program" "$@"; else "$bin/$program" "$@"; fi
}

say() { printf '\n== %s\n' "$*"; }

say "PostgreSQL"
[ "$(id -u)" != 0 ] || chown postgres "$dir"
as initdb -D "$dir/data" -U dray -A trust >/dev/null
as pg_ctl start -w -D "$dir/data" -o "-k $dir -c listen_addresses=''" -l "$dir/postgres.log" >/dev/null

write() {
	cat >"$dir/$1.yaml" <<-CONFIG
		version: 1
		cluster: {ledger: "postgres://dray@/postgres?host=$dir", name: $1, lease: 10s}
		server: {listen: "unix:$dir/$1.socket"}
		stateDir: "$dir/$1"
		mappings:
		  - {name: image, source: "$source", target: "$target", tags: ["$tag"], schedule: "@hourly"}
	CONFIG
}

start() {
	write "$1"
	dray run -c "$dir/$1.yaml" >"$dir/$1.log" 2>&1 &
	running="$running $!"
	eval "pid_$(echo "$1" | tr - _)=$!"
}

status() { dray status -c "$dir/$1.yaml"; }

# until_shown waits for a text in a replica's status, for two minutes at most.
until_shown() {
	tries=240
	until status "$1" 2>/dev/null | grep -q -e "$2"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "not shown within two minutes: $2" >&2; cat "$dir"/*.log >&2; exit 1; }
		sleep 0.5
	done
}

say "three replicas"
for name in dray-1 dray-2 dray-3; do start $name; done
for name in dray-1 dray-2 dray-3; do until_shown $name '^3 replicas'; done
until_shown dray-1 '^image  *\(running at\|[a-z]*  *ok \)'
status dray-1

victim=$(status dray-1 | sed -n 's/.*running at \(dray-[123]\).*/\1/p' | head -n 1)
victim=${victim:-dray-1}
case $victim in dray-1) left=dray-2 ;; *) left=dray-1 ;; esac
say "$victim is killed; $left says at once"
eval "kill -9 \$pid_$(echo "$victim" | tr - _)"
status $left
until_shown $left '^2 replicas'
until_shown $left '^image  *[a-z]*  *ok '
say "the others have taken over"
status $left
dray history -c "$dir/$left.yaml"
