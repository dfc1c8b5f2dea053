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
more=()
[ "${1:-}" = build ] && tests=()
# CPython's own tests: no command tells that they are there.
[ "${1:-}" = build ] || [ -e /usr/lib/python3.11/test/test_socket.py ] || more+=(- libpython3.11-testsuite)
# Debian's compiler only recommends what it cannot link without.
[ -e "$(cc -print-file-name=crt1.o 2>/dev/null)" ] || more+=(- libc6-dev)
"$(dirname "$0")/install.sh" "${tools[@]}" "${tests[@]}" "${more[@]}"
