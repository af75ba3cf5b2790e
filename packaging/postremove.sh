#!/bin/sh
# After the package has gone. A removal leaves the state and what administrators have written in /etc/dray; a purge takes the state.
set -e
case "$1" in
remove | purge)
	[ ! -d /run/systemd/system ] || systemctl --system daemon-reload >/dev/null || true
	;;
esac
if [ "$1" = purge ]; then
	if command -v deb-systemd-helper >/dev/null; then
		deb-systemd-helper purge dray.service >/dev/null || true
	fi
	# With DynamicUser= the second is where the first leads.
	rm -rf /var/lib/dray /var/lib/private/dray
	rmdir --ignore-fail-on-non-empty /etc/dray 2>/dev/null || true
fi
