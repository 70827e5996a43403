"""The service: poll, assemble, analyse, publish, then commit."""

from streamproc.service.loop import Service, ServiceParts

__all__ = ["Service", "ServiceParts"]
