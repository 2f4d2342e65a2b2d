# roadedge on a Jetson with JetPack 6, built on the Jetson itself. From the root of the checkout:
#   docker build -f docker/jetpack6.Dockerfile -t roadedge:jetpack6 .
# OpenCV and TensorRT are JetPack's own and stay so: docker/jetpack6.txt names neither, roadedge comes without its
# dependencies, and the build fails where another OpenCV would be loaded. How to run it: docs/docker.md

FROM python:3.12-slim-bookworm AS wheel
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        gstreamer1.0-libav \
        gstreamer1.0-plugins-bad \
        gstreamer1.0-plugins-base \
        gstreamer1.0-plugins-good \
        gstreamer1.0-tools \
        libopencv-python \
        python3-libnvinfer \
        python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv --system-site-packages /opt/roadedge \
    && useradd --create-home --uid 1000 --groups video roadedge \
    && install -d -o roadedge /data
ENV PATH=/opt/roadedge/bin:$PATH \
    PYTHONUNBUFFERED=1
COPY docker/jetpack6.txt /tmp/jetpack6.txt
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir -r /tmp/jetpack6.txt \
    && pip install --no-cache-dir --no-deps /tmp/wheels/*.whl \
    && rm -rf /tmp/wheels /tmp/jetpack6.txt \
    && python -c "import cv2; print(cv2.__version__, cv2.__file__); assert not cv2.__file__.startswith('/opt/roadedge')"
USER 1000
WORKDIR /data
# As Ctrl-C: the run ends in order, with its partial results.
STOPSIGNAL SIGINT
ENTRYPOINT ["roadedge"]
CMD ["doctor"]
