# docker build -t ourvidz-worker .
# docker run --gpus all --init --stop-timeout 60 -p 7861:7861 --env-file env -v /models:/models:ro ourvidz-worker
#
# --init reaps what engines leave behind, --stop-timeout is longer than the worker's drain. Without
# WORKER_API_KEY the worker listens on the container's loopback only, where -p doesn't reach.
#
# EXTRA=cpu builds an image without CUDA libraries.

FROM python:3.11-slim AS build
ARG EXTRA=gpu
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
COPY handlers handlers
COPY migrations migrations
# The tested set is that of machines without a GPU; vLLM brings a torch of its own.
COPY requirements.lock ./
RUN if [ "$EXTRA" = cpu ]; then pip install -c requirements.lock ".[cpu]"; else pip install ".[$EXTRA]"; fi

FROM python:3.11-slim
# Triton compiles small C modules while models load.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/ourvidz-worker ourvidz-worker
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CUDA_DEVICE_ORDER=PCI_BUS_ID \
    OURVIDZ_STATE_DIR=/var/lib/ourvidz-worker
WORKDIR /var/lib/ourvidz-worker
USER 10001:10001
EXPOSE 7861
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s --retries=4 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('OURVIDZ_SERVER__PORT', 7861)}/health\", timeout=2)"]
# The exec form: the worker itself gets SIGTERM.
CMD ["python", "-m", "daemon"]
