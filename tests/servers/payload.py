"""Markup that would say so in the console, were it more than text."""

SCRIPT = (
    "pwned\"'></textarea></script><script>console.error('pwned')</script>"
    "<img src=x onerror=\"console.error('pwned')\"><svg onload=console.error('pwned')>"
    "<style>*{display:none}</style><iframe srcdoc='<script>parent.console.error(1)</script>'></iframe>"
    "<a href=\"javascript:console.error('pwned')\">pwned</a> [pwned](javascript:console.error('pwned')) {{ 7|add:7 }}"
    " ![pwned](http://127.0.0.1:9/pwned.png) <b hx-get=/account hx-trigger=load hx-on:load=console.error(1)>pwned</b>"
    # Addresses that are none, in the ways Markdown and browsers read them.
    " [pwned](JaVaScRiPt:console.error('pwned')) [pwned](&#106;avascript:console.error('pwned')) [pwned][pwned]"
    " [pwned](java\tscript:console.error('pwned')) <javascript:console.error('pwned')>"
    " [pwned](data:text/html,<script>console.error('pwned')</script>) [pwned](vbscript:pwned) [pwned](//127.0.0.1:9/x)"
    " ![pwned](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImNvbnNvbGUuZXJyb3IoMSkiLz4=)"
    # Elements that change how what follows is read.
    " </title></noscript>--> ]]> <math><mtext></form><form><mglyph><style></math><img src=x onerror=console.error(1)>"
    " <base href=http://127.0.0.1:9/><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'><object data=x>"
    " <form action=http://127.0.0.1:9/><input name=csrfmiddlewaretoken><button formaction=javascript:1>pwned</button>"
    " <link rel=stylesheet href=http://127.0.0.1:9/x.css><svg><use href='data:image/svg+xml,pwned'/></svg>"
    # Marks that turn the direction of what follows.
    " \u202edenwp\u202c \u2066pwned\u2067 \u200f ${7*7} \n\n[pwned]: javascript:console.error('pwned')"
)
