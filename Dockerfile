# A base image whose programs are on a ZeroTier network: one container instead of a program and a sidecar.
#
#   make shared_lib && docker build -t mybase .
#
#   FROM mybase
#   RUN apt-get update && apt-get install -y nginx
#   CMD ["nginx", "-g", "daemon off;"]
#
#   docker run -e ZT_NETWORK=8056c2e21c000001 myimage
#   docker run -e ZT_NETWORK=… -e ZT_PLANET=/lan/planet -v zt-lan-home-planet:/lan:ro myimage     (a LAN of `zt-run lan create home`)
#
# BASE may be any image with glibc or musl, a POSIX shell, and setpriv if it starts as root.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

COPY build/zerotier-sdk-service /usr/bin/zerotier-sdk-service
COPY build/libztintercept.so /usr/lib/libztintercept.so
COPY build/zt-launch /usr/bin/zt-launch
COPY images/zt-entrypoint /usr/bin/zt-entrypoint
RUN ln -s zerotier-sdk-service /usr/bin/zerotier-cli && \
    ln -s zerotier-sdk-service /usr/bin/zerotier-idtool && \
    echo 'zerotier:x:9993:9993::/var/lib/zerotier-one:/bin/false' >> /etc/passwd && \
    echo 'zerotier:x:9993:' >> /etc/group && \
    mkdir -p /var/lib/zerotier-one /run/zt && \
    chown 9993:9993 /var/lib/zerotier-one /run/zt && \
    chmod 700 /var/lib/zerotier-one

# Each container has an identity of its own, and no image ever has one.
VOLUME /var/lib/zerotier-one
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD zerotier-cli health || [ -z "$ZT_NETWORK" ]
ENTRYPOINT ["/usr/bin/zt-entrypoint"]
CMD ["/bin/sh"]
