"""The core: small checks, each a thing programs do. A check is added by writing it down."""

from tests.servers.checks import attributes, content, copying, handles, links, names, programs, sharing
from tests.servers.checks.registry import CHECKS

__all__ = ["CHECKS", "attributes", "content", "copying", "handles", "links", "names", "programs", "sharing"]
