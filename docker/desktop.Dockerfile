# roadedge on a desktop or server, with or without an NVIDIA GPU. From the root of the checkout:
#   docker build -f docker/desktop.Dockerfile -t roadedge .
# How to run it, with GPU, camera and ports: docs/docker.md

FROM python:3.12-slim-bookworm AS build
ARG EXTRAS=openvino,video,points,graph,nvml
# More packages for pip: with an NVIDIA GPU --build-arg EXTRAS=video,points,graph,nvml,tensorrt-rtx --build-arg MORE=cuda-python
ARG MORE=
WORKDIR /src
RUN python -m venv /opt/roadedge
ENV PATH=/opt/roadedge/bin:$PATH
COPY . .
# The versions are those of constraints.txt. MORE is split into words on purpose.
# hadolint ignore=DL3013,SC2086
RUN pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]" ${MORE}

FROM python:3.12-slim-bookworm
# libgl1 and libglib2.0-0 are what the wheel of OpenCV links to. For gst: sources add
# --build-arg PACKAGES="gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
ARG PACKAGES=
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 ${PACKAGES} \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --groups video roadedge \
    && install -d -o roadedge /data
COPY --from=build /opt/roadedge /opt/roadedge
ENV PATH=/opt/roadedge/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /data
# As Ctrl-C: the run ends in order, with its partial results.
STOPSIGNAL SIGINT
ENTRYPOINT ["roadedge"]
CMD ["doctor"]
