"""How a conversation reads on a page."""

from django import template

from chains.templatetags.markdown_tags import markdown

register = template.Library()
register.filter("markdown", markdown)
