# syntax=docker/dockerfile:1
# An image with Waybill, the certificates of public authorities and an account without rights: no shell, no packages.
#
#   docker build --build-arg VERSION=v1.2.3 -t waybill .
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /image/usr/bin/waybill . && \
    mkdir -p /image/etc/ssl/certs && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    install -D -m 644 -t /image/usr/share/doc/waybill LICENSE THIRD-PARTY-NOTICES.txt && \
    echo 'waybill:x:65532:65532::/:/' >/image/etc/passwd && \
    echo 'waybill:x:65532:' >/image/etc/group

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 3000
# web, work and migrate; serve for web and work in one. All need DATABASE_URL.
ENTRYPOINT ["/usr/bin/waybill"]
CMD ["web"]
