"""harmless.py LIBRARY: starts every executable of /usr/bin plainly and with the library preloaded, and compares.

Runs as root in namespaces of its own (no network, its own processes and mounts); the executables run as a user that
owns nothing, each run in an empty home. Each is asked for its version; one that does not know that is started without
arguments too. Prints a report as JSON: how many executables showed the same, which ones show this and that in plain
runs already, and every difference that the library makes.
"""
import concurrent.futures
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys

USER = 64999
LIMIT = 2                   # seconds; a program that still runs then counts as one that waits
PATIENT = 20                # the same once runs differed: the machine may have been busy
ATTEMPTS = 4
WORKERS = 2 * os.cpu_count()
LARGEST = 1 << 20           # bytes that a program may print or write
WAITS = (None, b"", b"")

PLACE = pathlib.Path("/tmp")
LIBRARY = PLACE / "libztintercept.so"
UNSET = {"LD_PRELOAD": str(LIBRARY)}
LOADED = [UNSET, {**UNSET, "ZT_NC_NETWORK": "/nonexistent/nc_8056c2e21c000001"}]
# What says no more than how it was started: the lines of a program that prints its environment.
OUR_LINES = (b"LD_PRELOAD=", b"ZT_NC_NETWORK=")


def prepare(library):
    """Leaves the executables nothing but their homes to write to."""
    code = pathlib.Path(library).read_bytes()
    for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "none", folder], check=True)
    LIBRARY.write_bytes(code)
    LIBRARY.chmod(0o755)


def bounded():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(place, line, environment, limit=LIMIT):
    """What one run shows: exit status and both outputs."""
    home = place / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    os.chown(home, USER, USER)
    with open(place / "out", "w+b") as out, open(place / "err", "w+b") as err:
        child = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=home, start_new_session=True,
            user=USER, group=USER, extra_groups=[], preexec_fn=bounded,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C", "TERM": "dumb", **environment})
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()
            return WAITS
        out.seek(0)
        err.seek(0)
        shown = [line for line in out if not line.startswith(OUR_LINES)]
        return status, b"".join(shown), err.read()


def judge(place, line):
    """The verdict on one executable, and what it shows first."""
    first = run(place, line, {})
    plain = {first}
    for environment in LOADED:
        loaded = {run(place, line, environment)}
        for _ in range(ATTEMPTS):
            if len(plain) > 1 or plain & loaded:
                break
            plain.add(run(place, line, {}, PATIENT))
            loaded.add(run(place, line, environment, PATIENT))
        if len(plain) == 1 and not plain & loaded:
            return "differs", [line, environment, *map(repr, [*plain, *loaded])], first
    return ("varies" if len(plain) > 1 else "same"), line, first


def executables():
    """One name of each."""
    known = set()
    for path in sorted(pathlib.Path("/usr/bin").iterdir()):
        if path.is_file() and os.access(path, os.X_OK) and path.resolve() not in known:
            known.add(path.resolve())
            yield str(path)


def main():
    prepare(sys.argv[1])
    places = [PLACE / str(number) for number in range(WORKERS)]
    for place in places:
        place.mkdir()

    def work(path):
        place = places.pop()
        try:
            verdict, details, (status, _, _) = judge(place, [path, "--version"])
            if verdict == "same" and status != 0:
                verdict, details, _ = judge(place, [path])
            return verdict, details
        finally:
            places.append(place)

    report = {"same": [], "varies": [], "differs": []}
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for verdict, details in pool.map(work, executables()):
            report[verdict].append(details)
    report["same"] = len(report["same"])
    print(json.dumps(report, indent=1))


main()
