# The image of dray: the program, certificates of authorities, and nothing else. It runs as a user without rights, on a root file system
# that may be read-only.
#
#   docker build -t dray --build-arg VERSION="$(git describe --tags --always)" --build-arg COMMIT="$(git rev-parse HEAD)" .
#   docker run -v ./dray.yaml:/etc/dray/dray.yaml:ro -v dray-state:/var/lib/dray dray
#
# Mount the folder rather than the file where the config is to be reloaded: -v ./dray:/etc/dray:ro.

# Pin it by digest in a build that has to be the same again; offline, name an image of your own.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm

# Go compiles for any platform on that of the builder.
FROM --platform=${BUILDPLATFORM} ${GO_IMAGE} AS build
WORKDIR /src
ENV CGO_ENABLED=0
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH
# What the program calls itself, where the sources come without their history.
ARG VERSION=
ARG COMMIT=
ENV GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    GOFLAGS="-trimpath -mod=readonly '-ldflags=-s -w -buildid= -X main.version=${VERSION} -X main.commit=${COMMIT}'"
RUN ["go", "build", "-o", "/out/dray", "./cmd/dray"]
# A folder for the state, which the image gives to its user.
WORKDIR /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/dray /dray
COPY --from=build --chown=65532:65532 /out/state /var/lib/dray
ENV DRAY_CONFIG=/etc/dray/dray.yaml STATE_DIRECTORY=/var/lib/dray TMPDIR=/var/lib/dray
VOLUME /var/lib/dray
USER 65532:65532
EXPOSE 8484
STOPSIGNAL SIGTERM
# By the program itself: there is no shell. It asks where the config's server.listen says.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/dray", "status"]
LABEL org.opencontainers.image.title="dray" \
      org.opencontainers.image.description="A declarative import daemon for container images" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/draysync/dray"
ENTRYPOINT ["/dray"]
CMD ["run"]
