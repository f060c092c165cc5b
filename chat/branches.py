"""A conversation is a tree of questions: each follows another, and an edited or repeated one stands beside the first.

A branch is a way from a first question to a last one.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from chat.models import Conversation, Message


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the questions that follow the same one this is, from 1, and the ids of all of them."""

    number: int
    among: list[UUID]

    @property
    def count(self) -> int:
        return len(self.among)

    @property
    def previous(self) -> UUID | None:
        return self.among[self.number - 2] if self.number > 1 else None

    @property
    def next(self) -> UUID | None:
        return self.among[self.number] if self.number < self.count else None


@dataclass(slots=True)
class Tree:
    """Ids of questions, in the order in which they were asked."""

    parents: dict[UUID, UUID | None]
    children: dict[UUID | None, list[UUID]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, conversation_id: UUID) -> Self:
        """One query."""
        asked = Message.objects.filter(conversation_id=conversation_id, role=Message.Role.USER)
        tree = cls(dict(asked.order_by("created_at", "id").values_list("pk", "parent_id")))
        for question, parent in tree.parents.items():
            tree.children[parent].append(question)
        return tree

    def newest_leaf(self, under: UUID | None = None) -> UUID | None:
        """The newest question, of all or of those that follow this one."""
        if under is None:
            return next(reversed(self.parents), None)
        below = {under}
        for question, parent in self.parents.items():
            if parent in below:
                below.add(question)
        return next(question for question in reversed(self.parents) if question in below)

    def path(self, leaf: UUID | None) -> list[UUID]:
        """From the first question to this one."""
        way: list[UUID] = []
        while leaf is not None:
            way.append(leaf)
            leaf = self.parents.get(leaf)
        return way[::-1]

    def place(self, question: UUID) -> Place:
        among = self.children[self.parents[question]]
        return Place(among.index(question) + 1, among)


def newest_question(conversation: Conversation) -> Message | None:
    return conversation.messages.filter(role=Message.Role.USER).order_by("-created_at", "-id").first()


def ancestors(question: Message) -> list[UUID]:
    """The questions before this one in its branch."""
    if question.parent_id is None:
        return []
    return Tree.of(question.conversation_id).path(question.pk)[:-1]
