"""What `rqcron` enqueues periodically: the entries of settings.RQ_CRON."""

from django.conf import settings
from django.utils.module_loading import import_string
from rq.cron import register

for entry in settings.RQ_CRON:
    register(**(entry | {"func": import_string(entry["func"])}))
