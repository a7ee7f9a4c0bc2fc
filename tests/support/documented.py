"""What the worker says of its endpoints, made once for all tests that look at it."""

from daemon.server.documentation import Documentation
from daemon.server.openapi import openapi_document
from daemon.server.page import page_of

VERSION = "1.2.3"

DOCUMENT = openapi_document(VERSION)
DOCUMENTATION = Documentation(VERSION)
PAGE, POLICY = page_of(DOCUMENT)
