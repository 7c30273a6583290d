# syntax=docker/dockerfile:1
# The images of Mafalda, for who has docker and no Debian machine: scripts/images makes the same from
# built programs without docker.
#   docker build --target mafalda -t localhost/mafalda:dev .
#   docker build --target mafalda-operator -t localhost/mafalda-operator:dev .
#   docker build --target mafalda-conference -t localhost/mafalda-conference:dev .
# The first build compiles mediasoup's C++ worker, which takes minutes.

FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential pkg-config ninja-build \
    python3 python3-pip ca-certificates dpkg-dev libssl-dev libuv1-dev libflatbuffers-dev flatbuffers-compiler \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV CARGO_TARGET_DIR=/target MAFALDA_CACHE=/cache
# The caches are not in the image: the programs are copied out of them.
RUN --mount=type=cache,target=/target --mount=type=cache,target=/cache \
    --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --bins -p mafalda-cli -p mafalda-media-worker -p mafalda-operator \
  && install -D -t /programs /target/release/mafalda /target/release/mafalda-worker \
    /target/release/mafalda-media-worker /target/release/mafalda-operator

FROM node:22-bookworm-slim AS page
WORKDIR /srv/conference
COPY examples/conference/package.json examples/conference/package-lock.json ./
# mediasoup's own worker is not needed: no scripts.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY examples/conference ./
RUN npm run build && npm prune --omit=dev --omit=optional --ignore-scripts \
  && rm -rf page node_modules/mediasoup-client node_modules/mediasoup/worker

# The libraries that the media worker shares, and nothing that has a shell.
FROM debian:bookworm-slim AS libraries
RUN apt-get update && apt-get install -y --no-install-recommends libuv1 libssl3 \
  && mkdir -p /out && cp --parents -L /usr/lib/*-linux-gnu/libuv.so.1 /usr/lib/*-linux-gnu/libssl.so.3 \
    /usr/lib/*-linux-gnu/libcrypto.so.3 /out

# distroless/cc: libc, libgcc, certificates.
FROM gcr.io/distroless/cc-debian12:nonroot AS base
USER 65532:65532

FROM base AS mafalda-operator
COPY --from=build /programs/mafalda-operator /usr/bin/
ENTRYPOINT ["/usr/bin/mafalda-operator"]

FROM gcr.io/distroless/nodejs22-debian12:nonroot AS mafalda-conference
COPY --from=build /programs/mafalda-worker /usr/bin/
COPY --from=page /srv/conference /srv/conference
USER 65532:65532
ENV PATH=/nodejs/bin:/usr/bin
ENTRYPOINT ["/nodejs/bin/node", "/srv/conference/server/main.ts"]

FROM base AS mafalda
COPY --from=libraries /out /
COPY --from=build /programs/mafalda /programs/mafalda-media-worker /programs/mafalda-worker /usr/bin/
ENTRYPOINT ["/usr/bin/mafalda"]
