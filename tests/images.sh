#!/bin/bash
# images.sh - builds the images of the tests out of Debian packages, without a registry.
#
#   images.sh NAME…      build and import zt-test/NAME for each NAME that the engine at DOCKER_HOST lacks (default: nginx curl)
#
# Names: nginx    Debian's nginx as it is: nginx.conf and page of the package, one log line a request on stdout
#        curl     bash, coreutils, curl
#        python   bash, coreutils, python3
#        debian   like Debian's own small image (with setpriv), and python3: a base for the Dockerfile
#        busybox  a static program: a shell, a web server and a client
#        golang   a dynamically linked Go program
#        web      a static Go program and nothing else: tests/programs/web.go
#        musl     the musl loader and a small musl program /bin/fetch ADDRESS PORT (prints what the peer sends)
#
# Downloads are kept in ZT_CACHE (default ~/.cache/zt-tests), so that a second build is offline and takes seconds.
set -u
CACHE=${ZT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/zt-tests}
COMMON="base-files libc6 libgcc-s1 gcc-12-base bash libtinfo6 dash coreutils libacl1 libattr1 libselinux1 libpcre2-8-0 libgmp10 zlib1g libssl3"

die() { echo "images.sh: $*" >&2; exit 1; }

fetch() { # fetch PACKAGE…: the .deb files into the cache
	mkdir -p "$CACHE/debs" || die "cannot make $CACHE/debs"
	local p missing=()
	for p in "$@"; do
		compgen -G "$CACHE/debs/${p}_*.deb" >/dev/null || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	( cd "$CACHE/debs" && { apt-get -qq -o APT::Sandbox::User=root download "${missing[@]}" || { apt-get -qq update && apt-get -qq -o APT::Sandbox::User=root download "${missing[@]}"; }; } ) >&2 ||
		die "cannot download ${missing[*]}"
}

unpack() { # unpack DIR PACKAGE…: no maintainer script runs, so users and /tmp are added by hand
	local dir=$1 p; shift
	fetch "$@"
	mkdir -p "$dir/tmp" "$dir/var/tmp" "$dir/root" "$dir/etc" "$dir/run"
	# Merged /usr, as in every Debian image.
	local d; for d in bin sbin lib lib64; do mkdir -p "$dir/usr/$d"; [ -e "$dir/$d" ] || ln -s "usr/$d" "$dir/$d"; done
	for p in "$@"; do
		dpkg-deb --fsys-tarfile "$(compgen -G "$CACHE/debs/${p}_*.deb" | tail -n 1)" |
			tar -x -C "$dir" --keep-directory-symlink --exclude './usr/share/doc' --exclude './usr/share/locale' --exclude './usr/share/man' --exclude './usr/lib/x86_64-linux-gnu/gconv' || die "unpacking $p"
	done
	[ -e "$dir/usr/bin/sh" ] || { [ -e "$dir/usr/bin/dash" ] && ln -s dash "$dir/usr/bin/sh"; }
	chmod 1777 "$dir/tmp" "$dir/var/tmp"
	printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n' > "$dir/etc/passwd"
	printf 'root:x:0:\nadm:x:4:\nwww-data:x:33:\nnogroup:x:65534:\n' > "$dir/etc/group"
	printf 'hosts: files dns\n' > "$dir/etc/nsswitch.conf"
	ln -sfn /run "$dir/var/run"
}

import() { # import NAME DIR CHANGE…
	local name=$1 dir=$2 c changes=(); shift 2
	for c in "$@"; do changes+=(--change "$c"); done
	tar -C "$dir" --numeric-owner -c . | docker import "${changes[@]}" - "zt-test/$name" >/dev/null || die "importing zt-test/$name"
}

build() {
	local dir; dir=$(mktemp -d) || die "no temporary directory"
	case $1 in
	nginx)
		unpack "$dir" $COMMON nginx nginx-common nginx-light libnginx-mod-http-echo libcrypt1
		mkdir -p "$dir/var/lib/nginx" "$dir/var/log/nginx" "$dir/var/www/html" "$dir/etc/nginx/modules-enabled" "$dir/etc/nginx/sites-enabled"
		ln -sf ../sites-available/default "$dir/etc/nginx/sites-enabled/default"
		cp "$dir/usr/share/nginx/html/index.html" "$dir/var/www/html/index.nginx-debian.html" 2>/dev/null
		ln -sf /dev/stdout "$dir/var/log/nginx/access.log"; ln -sf /dev/stderr "$dir/var/log/nginx/error.log"
		import nginx "$dir" 'CMD ["/usr/sbin/nginx","-g","daemon off;"]' 'EXPOSE 80' ;;
	curl)
		unpack "$dir" $COMMON curl libcurl4 libbrotli1 libcom-err2 libcrypt1 libffi8 libgnutls30 libgssapi-krb5-2 libhogweed6 libidn2-0 libk5crypto3 \
			libkeyutils1 libkrb5-3 libkrb5support0 libldap-2.5-0 libnettle8 libnghttp2-14 libp11-kit0 libpsl5 librtmp1 libsasl2-2 libssh2-1 libtasn1-6 \
			libunistring2 libzstd1 libdb5.3
		import curl "$dir" 'CMD ["/bin/bash"]' ;;
	debian)
		unpack "$dir" $COMMON util-linux libcap-ng0 python3 python3-minimal python3.11 python3.11-minimal libpython3-stdlib libpython3.11-stdlib \
			libpython3.11-minimal libexpat1 libffi8 libbz2-1.0 liblzma5 libuuid1
		import debian "$dir" 'CMD ["/bin/bash"]' ;;
	python)
		unpack "$dir" $COMMON python3 python3-minimal python3.11 python3.11-minimal libpython3-stdlib libpython3.11-stdlib libpython3.11-minimal \
			libexpat1 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libdb5.3 libcrypt1 libncursesw6 libreadline8 media-types
		import python "$dir" 'CMD ["/usr/bin/python3"]' ;;
	busybox)
		fetch busybox-static
		dpkg-deb -x "$(compgen -G "$CACHE/debs/busybox-static_*.deb" | tail -n 1)" "$dir"
		ln -s busybox "$dir/bin/sh"
		import busybox "$dir" 'CMD ["/bin/sh"]' ;;
	golang)
		unpack "$dir" $COMMON runc libseccomp2
		import golang "$dir" 'ENTRYPOINT ["/usr/sbin/runc","--version"]' ;;
	web)
		"$(dirname "$0")/install.sh" go golang-go || die "could not install golang-go"
		CGO_ENABLED=0 GO111MODULE=off GOCACHE=${TMPDIR:-/tmp}/zt-go-cache go build -o "$dir/web" "$(dirname "$0")/programs/web.go" || die "compiling web.go"
		import web "$dir" 'ENTRYPOINT ["/web"]' ;;
	musl)
		"$(dirname "$0")/install.sh" musl-gcc musl-tools || die "could not install musl-tools"
		fetch musl
		dpkg-deb -x "$(compgen -G "$CACHE/debs/musl_*.deb" | tail -n 1)" "$dir"
		mkdir -p "$dir/bin" "$dir/etc" "$dir/tmp"
		cat > "$dir/fetch.c" <<-'C'
			#include <arpa/inet.h>
			#include <stdio.h>
			#include <stdlib.h>
			#include <string.h>
			#include <sys/socket.h>
			#include <unistd.h>
			int main(int argc, char **argv) {
			    if (argc < 3) { char *e = getenv("LD_PRELOAD"); printf("preload=%s\n", e ? e : ""); return 0; }
			    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
			    inet_pton(AF_INET, argv[1], &a.sin_addr);
			    int s = socket(AF_INET, SOCK_STREAM, 0);
			    if (connect(s, (struct sockaddr *)&a, sizeof a)) { perror("connect"); return 1; }
			    const char *q = "GET / HTTP/1.0\r\n\r\n";
			    if (write(s, q, strlen(q)) < 0) return 1;
			    char b[4096]; ssize_t n;
			    while ((n = read(s, b, sizeof b)) > 0) fwrite(b, 1, n, stdout);
			    return n < 0;
			}
		C
		musl-gcc -O1 -o "$dir/bin/fetch" "$dir/fetch.c" && rm "$dir/fetch.c" || die "compiling the musl program"
		import musl "$dir" 'ENTRYPOINT ["/bin/fetch"]' ;;
	*) die "no image called $1" ;;
	esac
	rm -rf "$dir"
}

[ $# -gt 0 ] || set -- nginx curl
command -v docker >/dev/null 2>&1 || die "the docker client is missing (engine.sh start installs it)"
for name in "$@"; do
	docker image inspect "zt-test/$name" >/dev/null 2>&1 || build "$name"
done
