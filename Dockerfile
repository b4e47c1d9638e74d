# Two images: `gateway`, without torch, and `node`, for the encoders and fusion.
#   docker build --target gateway --tag sensemesh/gateway:0.1.0 .
#   docker build --target node --tag sensemesh/node:0.1.0 .
# Both start without a network: base weights and the default model are inside.
ARG PYTHON=python:3.11-slim

# Packages go into an environment of their own, which alone is taken along: pip stays behind.
FROM ${PYTHON} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv

FROM packages AS gateway-packages
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/gateway.txt,target=/gateway.txt \
    python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes -r /gateway.txt

FROM packages AS node-packages
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/node.txt,target=/node.txt \
    python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes -r /node.txt
# The index to take PyTorch from, for this or that kind of processor; empty: pip's own. What PyTorch
# needs is installed already, hashed, but for CUDA's libraries. Its headers and tests are not needed.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    python -m pip --python /opt/venv/bin/python install "$(grep '^torch==' /constraints.txt)" \
      ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    && rm -rf /opt/venv/lib/python3*/site-packages/torch/include /opt/venv/lib/python3*/site-packages/torch/test

# Compiled here, for nothing can be written there; and legible to all, whatever the checkout's modes.
FROM packages AS code
WORKDIR /app
COPY cli cli
COPY gateway gateway
COPY mesh mesh
COPY services services
COPY models models
COPY deploy/ready.py ready.py
RUN python -m compileall -q . && chmod -R a+rX .

FROM ${PYTHON} AS base
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mesh
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    MESH_HOST=0.0.0.0
WORKDIR /app
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM base AS gateway
LABEL org.opencontainers.image.title="sensemesh gateway" \
      org.opencontainers.image.description="HTTP in front of a mesh of encoders and fusion"
COPY --from=gateway-packages /opt/venv /opt/venv
COPY --from=code /app/ready.py ready.py
COPY --from=code /app/cli cli
COPY --from=code /app/mesh mesh
COPY --from=code /app/gateway gateway
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=300s --start-interval=2s \
    CMD ["python", "-I", "-S", "ready.py", "MESH_HTTP_PORT", "8000"]
CMD ["python", "-m", "gateway"]

FROM base AS node
LABEL org.opencontainers.image.title="sensemesh node" \
      org.opencontainers.image.description="Any encoder of a mesh, or its fusion"
# Where a volume may be mounted for what engines keep; it takes its owner from here.
RUN install --directory --owner=10001 --group=10001 /cache
COPY --from=node-packages /opt/venv /opt/venv
COPY --from=code /app/models models
COPY --from=code /app/ready.py ready.py
COPY --from=code /app/cli cli
COPY --from=code /app/mesh mesh
COPY --from=code /app/services services
USER 10001:10001
EXPOSE 50051 9090
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=300s --start-interval=2s \
    CMD ["python", "-I", "-S", "ready.py", "MESH_OPS_PORT", "9090"]
# The command picks the service: python -m services.text_encoder, ...
CMD ["python", "-c", "raise SystemExit('which one? python -m services.{text_encoder,vision_encoder,audio_encoder,fusion}')"]
