"""Runs the AWS CLI in forks of one process that has loaded it. Loading it takes half a second, and the pages run hundreds of commands.

    aws.py serve SOCKET        serves until the end of the standard input
    aws.py run SOCKET [ARG]... runs a command there, with this process's environment, folder and standard streams

marshal is part of the interpreter and loads faster than json.
"""

import marshal
import os
import socket
import sys


def run(path, arguments):
    request = marshal.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()})
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        status = connection.recv(16)
    # An empty status means that the server failed.
    return int(status or 255)


def serve(path):
    import gc
    import signal
    import threading

    load()
    # A command ends before a collection would pay off.
    gc.disable()
    # The kernel reaps the forks.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    threading.Thread(target=end, args=[path], daemon=True).start()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    respond(connection)


def load():
    """Loads the modules that commands require and the model of Secrets Manager, with a command that fails: nothing listens on port 1."""
    import contextlib
    import io

    import awscli.clidriver

    # The AWS CLI's own botocore, which it adds to the path.
    import botocore.loaders

    # Each driver has its own loader, which would search and read the models again.
    models = {}
    botocore.loaders.Loader._cache = property(lambda loader: models, lambda loader, cache: None)
    os.environ.update(
        AWS_ACCESS_KEY_ID="example",
        AWS_SECRET_ACCESS_KEY="example",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_MAX_ATTEMPTS="1",
    )
    sys.argv = ["aws", "secretsmanager", "list-secrets", "--endpoint-url", "http://127.0.0.1:1"]
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        awscli.clidriver.main()
    if "Could not connect" not in errors.getvalue():
        sys.exit(f"the command failed before it sent its request: {errors.getvalue()}")
    # A driver reads the config file, here none, when it is created, and the other variables when it runs a command.
    driver = awscli.clidriver.create_clidriver()
    awscli.clidriver.create_clidriver = lambda: driver


def end(path):
    sys.stdin.read()
    os.unlink(path)
    os._exit(0)


def respond(connection):
    import signal
    import traceback

    import awscli.clidriver

    status = 255
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        request = marshal.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        # awscli sets it when it is loaded.
        data = os.environ["AWS_DATA_PATH"]
        os.environ.clear()
        os.environ.update(request["environment"], AWS_DATA_PATH=data)
        os.chdir(request["folder"])
        sys.argv = ["aws", *request["arguments"]]
        status = awscli.clidriver.main()
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as exit:
        status = exit.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        connection.sendall(str(status).encode())
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    # Nothing is left to clean up, and Python would take several milliseconds for it.
    os._exit(run(sys.argv[2], sys.argv[3:]))
