"""Calling modules: a host, its modules, and their functions as Python functions."""

from .channel import Tls
from .host import AsyncHost, Host, connect, connect_async
from .module import AsyncModule, Module
from .resource import Resource

__all__ = ["AsyncHost", "AsyncModule", "Host", "Module", "Resource", "Tls", "connect", "connect_async"]
