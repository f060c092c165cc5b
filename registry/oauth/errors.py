"""Why a sign-in does not go on, in words for whoever wants to sign in."""


class SignInError(Exception):
    """`code` is one of not_offered, blocked, unreachable, timeout, too_large, invalid (what an authorisation server
    says of itself makes no sense), no_client, refused (it said no; `reason` is its error code) and expired.

    `message` is a sentence a person can act on, and never holds a secret.
    """

    def __init__(self, code: str, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason

    @property
    def may_pass(self) -> bool:
        """Can the same request succeed later?"""
        return self.code in {"unreachable", "timeout"}
