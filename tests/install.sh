#!/bin/bash
# install.sh - installs Debian packages that this machine lacks (as root), without a question.
#
#   install.sh COMMAND PACKAGE …   the package of each command that is missing; of "-" always
set -eu
missing=()
while [ $# -gt 0 ]; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || missing+=("$2")
	shift 2
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "install.sh: missing packages: ${missing[*]} (install them, or run as root)" >&2
	exit 1
fi
echo "installing ${missing[*]}" >&2
# No package may start a daemon of its own: it would live in the host's network.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
{
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}"
} >&2
