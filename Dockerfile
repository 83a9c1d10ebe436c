# Medic as a container image: docker build --tag medic .
#
# The first stage has pip, builds Medic's wheel and installs what is locked. The second is Python and that; nothing in it
# builds or fetches. It runs as a number, not as a name, so that runAsNonRoot can be checked; its root may be read-only:
# Medic writes under /var/lib/medic and nowhere else. Settings are given where it is run: docs/operations.md.
# tests/e2e/test_image.py takes these lines one by one.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/ requirements/
# Without a pip of its own: what can be reached through Medic cannot install anything.
RUN python -m venv --without-pip /opt/medic
RUN pip --python /opt/medic/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt -r requirements/traces.txt
COPY . .
RUN pip --python /opt/medic/bin/python wheel --no-deps --no-index --no-build-isolation --wheel-dir /dist .
RUN pip --python /opt/medic/bin/python install --no-deps --no-index /dist/*.whl
# It was there to build the wheel.
RUN pip --python /opt/medic/bin/python uninstall --yes setuptools

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 medic \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/medic --shell /usr/sbin/nologin medic \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/medic
COPY --from=build /opt/medic /opt/medic
ENV PATH=/opt/medic/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MEDIC_DATABASE=external \
    MEDIC_DATA_DIR=/var/lib/medic \
    MEDIC_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/medic
VOLUME ["/var/lib/medic"]
EXPOSE 8080
STOPSIGNAL SIGTERM
# A start may have to wait for a million services to be read.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 CMD ["medic", "doctor", "--live"]
ENTRYPOINT ["medic"]
CMD ["serve"]
