# The collector, API and dashboard, the libraries it is linked to, and the CAs that everybody trusts; nothing else.
#
#   docker build -f deploy/docker/wireproof.Dockerfile -t wireproof .
FROM node:22-bookworm-slim AS page
WORKDIR /src/dashboards
COPY dashboards/package.json dashboards/package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY dashboards .
RUN npm run --silent build

FROM rust:1.89-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=page /src/dashboards/dist dashboards/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p wireproof --features mimalloc && install -D target/dist/wireproof /root-fs/wireproof
# What the dynamic linker would load, under the same paths; the CAs are for a ClickHouse with TLS.
RUN ldd /root-fs/wireproof | grep -o '/[^ ]*' | xargs -I{} cp --parents -L {} /root-fs && \
    cp --parents -L /etc/ssl/certs/ca-certificates.crt /root-fs && \
    install -d -m 700 -o 65532 -g 65532 /root-fs/var/lib/wireproof && install -d -m 1777 /root-fs/tmp

FROM scratch
COPY --from=build /root-fs /
USER 65532:65532
WORKDIR /var/lib/wireproof
EXPOSE 8480
ENTRYPOINT ["/wireproof"]
