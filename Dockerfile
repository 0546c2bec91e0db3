# relay in a container: a rehearsal that takes mail at 2525, until settings are mounted.
#
#     docker build -t invoice-relay .          or: buildah bud --format docker -t invoice-relay .
#     docker run --rm -p 127.0.0.1:2525:2525 -v relay:/var/lib/relay invoice-relay
#
# Settings go to /etc/relay/relay.yaml: begin with config/container.yaml. State is in the volume.
# The base may be any Debian or Ubuntu that has, or can install, Python 3.11 or later. The image runs read-only and without privileges:
#
#     docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges …

ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS base
RUN { command -v python3 && test -e /etc/ssl/certs/ca-certificates.crt; } >/dev/null || { \
        apt-get update -qq \
        && DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq --no-install-recommends python3 ca-certificates >/dev/null \
        && rm -rf /var/lib/apt/lists/*; }

FROM base AS build
RUN python3 -c 'import ensurepip' 2>/dev/null || { \
        apt-get update -qq \
        && DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq --no-install-recommends python3-venv >/dev/null; }
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/relay
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY relay relay
RUN /build/bin/pip wheel --quiet --no-deps --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/relay/bin/python install --quiet /wheels/*.whl

FROM base
RUN groupadd --gid 2525 relay \
    && useradd --uid 2525 --gid relay --no-log-init --home-dir /var/lib/relay --no-create-home \
        --shell /usr/sbin/nologin relay \
    && install -d -m 700 -o relay -g relay /var/lib/relay
COPY --from=build /opt/relay /opt/relay
COPY config/container.yaml /etc/relay/relay.yaml
ENV PATH=/opt/relay/bin:/usr/local/bin:/usr/bin:/bin
USER 2525:2525
VOLUME /var/lib/relay
EXPOSE 2525
STOPSIGNAL SIGTERM
# `relay status` asks the running relay over a socket in the volume, whatever its ports are.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["relay", "status", "--json"]
ENTRYPOINT ["relay"]
CMD ["run"]
