# The capture agent and the libraries it is linked to, and nothing else: no shell, no package manager.
#
#   docker build -f deploy/docker/agent.Dockerfile -t wireproof-agent .
#
# It needs NET_RAW and the host's network: docker run --network host --cap-drop ALL --cap-add NET_RAW wireproof-agent -i any
FROM rust:1.89-bookworm AS build
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends libpcap-dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p capture --features agent && install -D target/dist/wireproof-agent /root-fs/wireproof-agent
# What the dynamic linker would load, under the same paths.
RUN ldd /root-fs/wireproof-agent | grep -o '/[^ ]*' | xargs -I{} cp --parents -L {} /root-fs
RUN install -d -m 700 /root-fs/var/lib/wireproof

FROM scratch
COPY --from=build /root-fs /
# Root, because a container's NET_RAW reaches no other account; the agent gives it up before it reads.
ENTRYPOINT ["/wireproof-agent"]
