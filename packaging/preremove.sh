#!/bin/sh
# Before the package goes: the service stops. dpkg gives "remove" or "upgrade", rpm 0 or 1.
set -e
case "$1" in
remove)
	[ ! -d /run/systemd/system ] || deb-systemd-invoke stop dray.service >/dev/null || true
	;;
0)
	[ ! -d /run/systemd/system ] || systemctl --no-reload disable --now dray.service >/dev/null || true
	;;
esac
