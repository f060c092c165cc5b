"""Each search looks through the words that are not yet sorted into their index: no more than 256 kB of them."""

import django.contrib.postgres.indexes
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("registry", "0008_spellings")]

    operations = [
        migrations.RemoveIndex("searchdocument", "search_document_words"),
        migrations.AddIndex(
            "searchdocument",
            django.contrib.postgres.indexes.GinIndex(
                fields=["words"], gin_pending_list_limit=256, name="search_document_words"
            ),
        ),
    ]
