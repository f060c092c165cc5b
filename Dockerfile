# syntax=docker/dockerfile:1
# One image for every process: the web server by default, workers and commands by another `command` (compose.yaml).
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
# For example a mirror, or an index with smaller builds of torch: --build-arg PIP_EXTRA_INDEX_URL=…
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /build
COPY requirements.txt constraints.txt ./
RUN /opt/venv/bin/pip install --requirement requirements.txt --constraint constraints.txt

FROM python:${PYTHON}
RUN groupadd --system --gid 10001 registry \
    && useradd --system --uid 10001 --gid registry --create-home --shell /usr/sbin/nologin registry \
    && install --directory --owner=registry --group=registry --mode=0750 /data /data/static
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
RUN python -m compileall -q .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=mcpregistry.settings \
    DATA_DIR=/data \
    LOG_FORMAT=json \
    TQDM_DISABLE=1
USER 10001:10001
VOLUME /data
EXPOSE 8000
# That this process answers; whether it should be sent requests says /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["daphne", "-v", "0", "-b", "0.0.0.0", "-p", "8000", "mcpregistry.asgi:application"]
