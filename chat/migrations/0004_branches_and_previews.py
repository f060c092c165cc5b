from django.db import migrations, models

CHAIN = """
UPDATE messages SET parent_id = before.id
FROM (
    SELECT id AS of_id, lag(id) OVER (PARTITION BY conversation_id ORDER BY created_at, id) AS id
    FROM messages WHERE role = 'user'
) AS before
WHERE messages.id = before.of_id AND before.id IS NOT NULL;
UPDATE messages SET parent_id = question.id
FROM messages AS question
WHERE messages.role = 'assistant' AND question.role = 'user' AND messages.run_id = question.run_id;
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0003_budgets_and_memory")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="preview",
            field=models.BooleanField(
                default=False, help_text="a plan is shown and approved before anything of it runs"
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                help_text="of a question: the question before it; of an answer: its question",
                null=True,
                on_delete=models.SET_NULL,
                related_name="children",
                to="chat.message",
            ),
        ),
        migrations.RunSQL(f"{CHAIN}SET CONSTRAINTS ALL IMMEDIATE;", migrations.RunSQL.noop),
    ]
