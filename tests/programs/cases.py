"""What the socket programs beside this file share: their cases by name, and how a trace is written."""
import errno
import json
import socket

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def name(error):
    return errno.errorcode.get(error, str(error))


def outcome(function, *arguments):
    """The value of a call, or the name of its errno."""
    try:
        value = function(*arguments)
    except socket.timeout:
        return "timed out"
    except OSError as e:
        return name(e.errno)
    return value.decode("latin-1") if isinstance(value, bytes) else value


def play(arguments, only=()):
    """Plays every case, or only those, and prints one JSON object: case -> trace."""
    traces = {}
    for key, function in CASES.items():
        if only and key not in only:
            continue
        try:
            traces[key] = function(*arguments)
        except Exception as e:
            traces[key] = "%s: %s" % (type(e).__name__, e)
    print(json.dumps(traces))
