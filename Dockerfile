# docker build -t ourvidz-worker .
# docker run --gpus all --stop-timeout 60 -p 7861:7861 --env-file env -v /models:/models:ro ourvidz-worker
#
# --stop-timeout is longer than the worker's drain. Without WORKER_API_KEY the worker listens on the
# container's loopback only, where -p doesn't reach. Weights come from the volume: none are inside,
# and engines ask no hub for any unless a model's options say `offline = false`.
#
# EXTRA=cpu with BASE=ubuntu:24.04 builds an image without CUDA; EXTRA=none one without model
# libraries, for `migrate`.

# torch and vLLM bring CUDA's libraries in their wheels. The base brings what the container runtime
# reads: which devices and driver libraries to mount, and which driver is new enough.
ARG BASE=nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ubuntu:24.04 AS build
ARG EXTRA=gpu
# Without versions: Ubuntu keeps only the newest of a release's packages.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv
WORKDIR /src
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml requirements.lock ./
# Several GB, in a layer that a change of the code doesn't touch. The tested set (requirements.lock)
# is that of machines without a GPU: vLLM's build for CUDA wants a torch of its own.
RUN python -c "import sys, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies'].get(sys.argv[1], ()), sep='\n')" "$EXTRA" > needs.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ "$EXTRA" = gpu ]; then pip install -r needs.txt; else pip install -c requirements.lock -r needs.txt; fi
COPY README.md LICENSE ./
COPY daemon daemon
COPY handlers handlers
COPY migrations migrations
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps .

FROM ${BASE}
# Triton compiles small C modules while models load. tini reaps what engines leave behind, which as
# PID 1 the worker would have to, and passes signals on to the worker alone.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev python3 python3-dev tini \
 && useradd --no-log-init --uid 10001 --user-group --create-home --home-dir /var/lib/ourvidz-worker ourvidz-worker
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CUDA_DEVICE_ORDER=PCI_BUS_ID \
    OURVIDZ_STATE_DIR=/var/lib/ourvidz-worker
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ourvidz-worker" \
      org.opencontainers.image.description="GPU worker for a Supabase jobs table" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /var/lib/ourvidz-worker
USER 10001:10001
EXPOSE 7861
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s --retries=4 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('OURVIDZ_SERVER__PORT', 7861)}/health\", timeout=2)"]
# The exec form, without a shell between: SIGTERM reaches the worker. What is given after the image's
# name is a command of the worker's: `docker run … ourvidz-worker migrate --dsn …`.
ENTRYPOINT ["/usr/bin/tini", "--", "python", "-m", "daemon"]
