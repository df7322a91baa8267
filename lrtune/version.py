"""The version, in a file of its own because everything may import it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lrtune")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
