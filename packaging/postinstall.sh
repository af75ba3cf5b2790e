#!/bin/sh
# After the package was installed or upgraded. dpkg gives "configure" and the version before, rpm how many versions there are.
set -e

running() { [ -d /run/systemd/system ]; }

case "$1" in
configure) # Debian: enabled unless an administrator has disabled it; without a config it waits
	if command -v deb-systemd-helper >/dev/null; then
		if deb-systemd-helper --quiet was-enabled dray.service; then
			deb-systemd-helper enable dray.service >/dev/null
		else
			deb-systemd-helper update-state dray.service >/dev/null
		fi
	fi
	if running; then
		systemctl --system daemon-reload >/dev/null || true
		if [ -n "${2:-}" ]; then action=restart; else action=start; fi # restart as debhelper does: it was removed before, or is older
		deb-systemd-invoke $action dray.service >/dev/null || true
	fi
	;;
[1-9]*) # RPM: as the distribution's presets say
	if running; then
		systemctl daemon-reload >/dev/null || true
		if [ "$1" = 1 ]; then systemctl preset dray.service >/dev/null || true; else systemctl try-restart dray.service || true; fi
	fi
	;;
esac

if [ ! -e /etc/dray/dray.yaml ] && { [ "$1" = configure ] && [ -z "${2:-}" ] || [ "$1" = 1 ]; }; then
	echo "dray waits for /etc/dray/dray.yaml: copy /etc/dray/dray.yaml.example there, change it, and run: systemctl start dray"
fi
