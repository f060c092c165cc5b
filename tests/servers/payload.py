"""Markup that would say so in the console, were it more than text."""

SCRIPT = (
    "pwned\"'></textarea></script><script>console.error('pwned')</script>"
    "<img src=x onerror=\"console.error('pwned')\"><svg onload=console.error('pwned')>"
    "<style>*{display:none}</style><iframe srcdoc='<script>parent.console.error(1)</script>'></iframe>"
    "<a href=\"javascript:console.error('pwned')\">pwned</a> [pwned](javascript:console.error('pwned')) {{ 7|add:7 }}"
    " ![pwned](http://127.0.0.1:9/pwned.png) <b hx-get=/account hx-trigger=load hx-on:load=console.error(1)>pwned</b>"
)
