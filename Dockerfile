# Two images, each a static binary and nothing else: --target agent and --target webhook.
#
# `make images` builds them for this machine's architecture, without an engine. For another one without
# emulating it, build the binaries by cargo (rustup's target, gcc-aarch64-linux-gnu as its linker; the flags
# for static ones are in .cargo/config.toml) and give their folder in place of the stage `build`:
#   cargo build --release --target aarch64-unknown-linux-gnu -p procview-agent -p procview-webhook
#   buildah bud --platform linux/arm64 --build-context build=target/aarch64-unknown-linux-gnu/release \
#     --target agent --tag localhost/procview-agent:arm64 .
# docker buildx takes the same options.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p procview-agent -p procview-webhook && \
    cp target/*/release/procview-agent target/*/release/procview-webhook /

FROM scratch AS agent
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="procview-agent" \
      org.opencontainers.image.description="Serves containers a /proc and /sys of their own size" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /procview-agent /procview-agent
# As root, which is what it is without USER: it mounts, and reads what belongs to all users.
ENTRYPOINT ["/procview-agent"]

FROM scratch AS webhook
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="procview-webhook" \
      org.opencontainers.image.description="Adds the mounts of Procview's view to pods as they are created" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /procview-webhook /procview-webhook
USER 65532:65532
ENTRYPOINT ["/procview-webhook"]
