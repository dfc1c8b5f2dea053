"""cpython.py HOST [TEST ...]: runs CPython's own tests of sockets over HOST, and prints each test's outcome as JSON.

The suite talks to itself over 127.0.0.1. When HOST is another address, that address is put in its place while the
modules are loaded, and `localhost` is to mean it too (/etc/hosts); nothing else of the suite changes. Each module runs
in a process of its own. TEST: the whole names of tests; without any, all tests of all modules.
"""
import concurrent.futures
import faulthandler
import importlib.machinery
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import unittest

MODULES = ["test_socket", "test_select", "test_selectors", "test_epoll", "test_poll", "test_ssl", "test_httplib"]
AT_ONCE = 3
LIMIT = 40                  # seconds for one test
MODULE_LIMIT = 240
LOOPBACK = "127.0.0.1"
# Neither the kernel's network nor the LAN: what answers there is the machine below this one, or nobody.
EXCLUDED = ["test.test_socket.ThreadedVSOCKSocketStreamTest.testStream"]


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the suite with another address in it."""

    def path_stats(self, path):
        raise OSError("never from a cache")

    def get_data(self, path):
        lines = super().get_data(path).decode().splitlines(keepends=True)
        # What certificates say stays as it is.
        return "".join(
            line if "IP Address" in line or "hostname" in line else line.replace(LOOPBACK, HOST) for line in lines
        ).encode()


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if not name.startswith("test."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


class Outcomes(unittest.TestResult):
    """Writes each outcome as it comes: a module that dies has said what it got to."""

    def startTest(self, test):
        super().startTest(test)
        self.seen = "ok"
        self.say(test, "died")
        signal.alarm(LIMIT)

    def stopTest(self, test):
        signal.alarm(0)
        self.say(test, self.seen)

    def say(self, test, outcome):
        print(json.dumps([test.id(), outcome]), flush=True)

    def note(self, kind, err):
        if self.seen == "ok":
            self.seen = "%s: %s: %s" % (kind, err[0].__name__, err[1])

    def addError(self, test, err):
        if isinstance(test, unittest.suite._ErrorHolder):
            self.say(test, "error: %s: %s" % (err[0].__name__, err[1]))
        self.note("error", err)

    def addFailure(self, test, err):
        self.note("fail", err)

    def addSubTest(self, test, subtest, err):
        if err:
            self.note("fail", err)

    def addSkip(self, test, reason):
        self.seen = "skipped: " + reason

    def addExpectedFailure(self, test, err):
        self.seen = "fails as expected"

    def addUnexpectedSuccess(self, test):
        self.seen = "succeeds unexpectedly"


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def late(signum, frame):
    raise TimeoutError("not done in %d s" % LIMIT)


def module(name, tests):
    """Runs one module in this process."""
    if HOST != LOOPBACK:
        sys.meta_path.insert(0, Finder)
    import test.support
    test.support.use_resources = []
    test.support.verbose = 0
    outcomes = os.fdopen(os.dup(1), "w")
    sys.stdout = outcomes
    os.dup2(2, 1)
    signal.signal(signal.SIGALRM, late)
    faulthandler.enable()
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames(tests) if tests else loader.loadTestsFromName(name)
    unittest.TestSuite(test for test in each(suite) if test.id() not in EXCLUDED).run(Outcomes())
    sys.stdout.flush()
    os._exit(0)


def outcomes_of(name, tests):
    command = [sys.executable, "-E", "-s", __file__, HOST, "--module", name, *tests]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sys.stderr,
                                 cwd=folder, start_new_session=True, text=True)
        try:
            out, _ = child.communicate(timeout=MODULE_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, _ = child.communicate()
            found[name] = "not done in %d s" % MODULE_LIMIT
    if child.returncode:
        found[name] = "ended with %d" % child.returncode
    for line in out.splitlines():
        test, outcome = json.loads(line)
        found[test] = outcome
    return found


def main():
    global HOST
    HOST, *rest = sys.argv[1:]
    if rest[:1] == ["--module"]:
        module(rest[1], rest[2:])
    # What is started in the background ignores it, and tests that interrupt themselves then run for ever.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import test.test_asyncio
    names = ["test." + name for name in MODULES]
    names += ["test.test_asyncio." + found.name for found in pkgutil.iter_modules(test.test_asyncio.__path__)
              if found.name.startswith("test_") and "windows" not in found.name]
    wanted = {name: [test for test in rest if (test + ".").startswith(name + ".")] for name in names}
    found = {}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(outcomes_of, name, tests) for name, tests in wanted.items() if tests or not rest]
        for job in jobs:
            found.update(job.result())
    print(json.dumps(found, indent=1, sort_keys=True))


main()
