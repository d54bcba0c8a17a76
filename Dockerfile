# The page, the program, and the image in which every service runs:
#   docker build -t conclave .
#   docker run -p 8080:8080 conclave          all services in one process, on SQLite
#   docker run conclave serve model-router    one service; see docker-compose.yml

FROM node:22-bookworm-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM golang:1.26.8-bookworm AS program
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=page /src/web/dist web/dist
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o /conclave ./cmd/conclave

FROM debian:bookworm-slim
# Agents build and test with git and Go. The one user of a container may use every
# repository that is mounted into it, whoever owns that on the host. A scratch file
# system takes the mode of the folder over which it is mounted.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system safe.directory '*' \
 && useradd --uid 10001 --user-group --home-dir /var/lib/conclave --shell /usr/sbin/nologin conclave \
 && install -d -m 1777 -o conclave -g conclave /var/lib/conclave /workspace
COPY --from=program /usr/local/go /usr/local/go
COPY --from=program /conclave /usr/local/bin/conclave
COPY config /etc/conclave
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    GOTOOLCHAIN=local \
    CONCLAVE_HOME=/var/lib/conclave \
    CONCLAVE_CONFIG=/etc/conclave \
    CONCLAVE_LISTEN=0.0.0.0
USER 10001:10001
WORKDIR /workspace
VOLUME /var/lib/conclave
EXPOSE 8001 8002 8003 8004 8010 8011 8012 8013 8014 8015 8016 8017 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 CMD ["conclave", "status", "--here"]
ENTRYPOINT ["conclave"]
CMD ["serve"]
