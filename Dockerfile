# The course with JupyterLab, for one person or as the image of a JupyterHub:
#   docker build -t kdcourse . && docker run --rm -p 127.0.0.1:8888:8888 -v kdcourse:/learner kdcourse
# prints the address with its token. On a JupyterHub it is the image, and jupyterhub-singleuser the command.
FROM python:3.13-slim AS packages
RUN pip install --no-cache-dir uv && python -m venv --without-pip /opt/venv
COPY pyproject.toml /tmp/course/
# The lock is made when the image is built, and stays in it: the same image, the same packages.
RUN uv pip compile /tmp/course/pyproject.toml --extra hub --torch-backend cpu --python /opt/venv/bin/python --output-file /opt/venv/kdcourse.lock && \
    uv pip sync --no-cache --compile-bytecode --torch-backend cpu --python /opt/venv/bin/python /opt/venv/kdcourse.lock
COPY . /opt/kdcourse
RUN uv pip install --no-cache --no-deps --python /opt/venv/bin/python -e /opt/kdcourse

FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* && \
    useradd --create-home --home-dir /learner --uid 1000 learner
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages --chown=learner /opt/kdcourse /opt/kdcourse
# The allocator keeps big buffers, as in kdcourse.study.ALLOCATOR.
ENV PATH=/opt/venv/bin:$PATH \
    MALLOC_MMAP_THRESHOLD_=10000000000 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=268435456
USER learner
WORKDIR /learner
EXPOSE 8888
# The version is told without a token; below a JupyterHub the server has a prefix.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD python -c "import os, urllib.request as u; u.urlopen('http://127.0.0.1:8888' + os.environ.get('JUPYTERHUB_SERVICE_PREFIX', '/') + 'api', timeout=4)"
ENTRYPOINT ["tini", "--", "/opt/kdcourse/docker/start"]
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--ServerApp.root_dir=/learner"]
