# MusicEval on CPUs. All steps of the installation are those of deploy/install.sh, which also works without a container.
FROM python:3.12-slim-bookworm AS built
WORKDIR /source
COPY pyproject.toml requirements.txt requirements.lock README.md LICENSE ./
COPY deploy/install.sh deploy/
COPY core core
COPY annotation annotation
COPY webapp webapp
RUN PIP_NO_CACHE_DIR=1 sh deploy/install.sh /opt/musiceval cpu

# Without what was only needed to build it.
FROM python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin musiceval \
    && install -d -o musiceval -g musiceval -m 700 /data
COPY --from=built /opt/musiceval /opt/musiceval
ENV MUSICEVAL_DATA=/data \
    MUSICEVAL_HOST=0.0.0.0 \
    MUSICEVAL_PORT=7860 \
    HF_HOME=/data/huggingface \
    HOME=/tmp \
    PATH=/opt/musiceval/bin:$PATH
USER 10001
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=4)"]
CMD ["musiceval", "app"]
