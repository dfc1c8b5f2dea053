#!/bin/bash
# prepare.sh - installs what the tests use and this machine lacks (Debian packages, as root), without a question.
#
#   prepare.sh            everything that `make test` needs
#   prepare.sh build      only what `make shared_lib` needs
set -eu
tools=(cc gcc make make)
tests=(
	python3 python3 curl curl nginx nginx-light ab apache2-utils tcpdump tcpdump ping iputils-ping
	ip iproute2 setpriv util-linux nm binutils musl-gcc musl-tools
	busybox busybox-static go golang-go podman podman runc runc
	# The applications.
	wrk wrk wget wget apache2 apache2-bin lighttpd lighttpd haproxy haproxy iperf3 iperf3
	sshd openssh-server ssh openssh-client redis-server redis-server node nodejs
	/usr/lib/postgresql/15/bin/postgres postgresql-15 pgbench postgresql-15 javac openjdk-17-jdk-headless
)
missing=()
# CPython's own tests: no command tells that they are there.
[ "${1:-}" = build ] || [ -e /usr/lib/python3.11/test/test_socket.py ] || missing+=(libpython3.11-testsuite)
[ "${1:-}" = build ] && tests=()
set -- "${tools[@]}" "${tests[@]}"
while [ $# -gt 0 ]; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || missing+=("$2")
	shift 2
done
# Debian's compiler only recommends what it cannot link without.
[ -e "$(cc -print-file-name=crt1.o 2>/dev/null)" ] || missing+=(libc6-dev)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "prepare.sh: missing packages: ${missing[*]} (install them, or run as root)" >&2
	exit 1
fi
echo "installing ${missing[*]}" >&2
# No package may start a daemon of its own.
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
