"""Loads the product as the suite needs it: its servers listen on loopback, and no database is asked."""

import os
import tempfile

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpregistry.settings")
os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="mcpr-conformance-"))
os.environ.setdefault("SECRET_KEY", "only-for-the-conformance-suite-" + "x" * 30)
os.environ["OUTBOUND_ALLOW"] = "127.0.0.0/8,::1,localhost"
django.setup()
