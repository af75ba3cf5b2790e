#  a Dockerfile with heredocs
FROM debian:bookworm-slim@sha256:36e591f228bb9b99348f584e83f16e012c33ba5cad44ef5981a1d7c0a93eca22 AS base
RUN <<EOF
apt-get update
cat > /tmp/Dockerfile <<X
FROM nothing:1.0
X
EOF
COPY <<-"DOC" /etc/doc
	FROM also-nothing
	DOC
FROM base AS final
FROM \
  # a comment inside
  node:22.9-bookworm AS js
RUN npm ci && \
    echo FROM not-an-image:1 \
    && true
FROM final
COPY --from=js /app /app
ONBUILD COPY --from=composer:2.8 /usr/bin/composer /usr/bin/composer
