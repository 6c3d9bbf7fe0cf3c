# One static program and nothing else.
#
#     docker build -t leasehold .         # or podman, or buildah
#
# An image with Rust from another registry is named by `--build-arg RUST=…`. There are no CAs in
# the image: mount yours, and name it in `vault.ca_cert`.
ARG RUST=docker.io/library/rust:1.95-bookworm

FROM ${RUST} AS build
WORKDIR /src
COPY . .
# Only the last step of linking is told to be static: macros, which run while this is compiled,
# cannot be.
RUN --mount=type=cache,target=/src/target \
    cargo rustc --release --locked --bin leasehold -- \
        -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs \
    && cp target/release/leasehold /leasehold

FROM scratch
COPY --from=build /leasehold /leasehold
USER 65532:65532
ENTRYPOINT ["/leasehold"]
CMD ["run"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/leasehold", "health"]
