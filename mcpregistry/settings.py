"""Settings of the project, read from the environment. Every name is described in docs/operating.md."""

import contextlib
import os
import secrets
import socket
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from pythonjsonlogger.core import RESERVED_ATTRS

from mcpregistry import embedded

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def env_bool(name: str, default: bool) -> bool:
    return env(name, "1" if default else "0").lower() in {"1", "true", "yes", "on"}


def env_int(name: str, default: int) -> int:
    return int(env(name) or default)


def env_list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in env(name, default).split(",") if item.strip()]


def env_choice(name: str, *choices: str) -> str:
    """The first choice is the default. A misspelt one must not quietly mean less protection."""
    chosen = env(name) or choices[0]
    if chosen not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {chosen!r}.")
    return chosen


def kept_secret(path: Path) -> str:
    """A random secret that is made once and stays in DATA_DIR, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # atomic: the first process wins, the others read its secret
        draft.unlink()
    return path.read_text()


def database_from_url(url: str) -> dict[str, Any]:
    """`postgresql://user:password@host:port/name?option=value`, or a socket folder as `?host=/folder`."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "mcpregistry.database",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or options.pop("user", "")),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(parts.port or options.pop("port", "")),
        "OPTIONS": options,
    }


# Where things are
DATA_DIR = Path(env("DATA_DIR") or BASE_DIR / "var").resolve()
DEBUG = env_bool("DEBUG", False)
SECRET_KEY = env("SECRET_KEY") or kept_secret(DATA_DIR / "secret_key")
SECRET_KEY_IS_GIVEN = bool(env("SECRET_KEY"))
SECRET_KEY_FALLBACKS = env_list("SECRET_KEY_FALLBACKS")  # former keys: what they signed and encrypted still opens
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1],testserver")
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if not host.startswith(("127.", "[", "*"))]

# Applications
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "channels",
    "django_htmx",
    "template_partials",
    "django_rq",
    "mcpregistry",
    "registry",
    "chains",
    "chat",
]
MIDDLEWARE = [
    "mcpregistry.metrics.requests.MetricsMiddleware",
    "mcpregistry.headers.HeadersMiddleware",
    "mcpregistry.api.JsonErrorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "mcpregistry.limits.LimitsMiddleware",
    "mcpregistry.audit.AuditMiddleware",
    "mcpregistry.second_factor.RequiredMiddleware",
    "mcpregistry.api.OptionalSlashMiddleware",
]
ROOT_URLCONF = "mcpregistry.urls"
ASGI_APPLICATION = "mcpregistry.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chat.context.workspace",
                "mcpregistry.accounts.mail",
            ],
        },
    },
]

# Postgres
DATABASE_URL = env("DATABASE_URL") or embedded.database_url(DATA_DIR)
DATABASE_IS_ELSEWHERE = bool(env("DATABASE_URL"))
DATABASES = {"default": database_from_url(DATABASE_URL)}
# A search takes the best of a vector index, walks on where filters leave too few, and needs no parallel plan.
SEARCH_EF = "60"
SEARCH_SETTINGS = (
    f"-c hnsw.ef_search={SEARCH_EF} -c hnsw.iterative_scan=relaxed_order -c max_parallel_workers_per_gather=0"
)
DATABASES["default"]["OPTIONS"].setdefault("options", SEARCH_SETTINGS)
DATABASES["default"]["OPTIONS"].setdefault("prepare_threshold", env_int("DATABASE_PREPARE_AFTER", 3) or None)
if DATABASE_POOL := env_int("DATABASE_POOL", 0):  # for the web process only: a forking worker must not inherit a pool
    DATABASES["default"]["OPTIONS"] |= {"pool": {"min_size": 1, "max_size": DATABASE_POOL, "timeout": 10}}
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # after a restart of the database no request meets a dead one
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis: queues, channel layer, cache
REDIS_URL = env("REDIS_URL") or embedded.redis_url(DATA_DIR)
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}
# One queue a worker process. A job's timeout is the hard limit from outside on whatever a server does to it.
RQ_QUEUES = {
    "runs": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 3600},  # one job drives one run
    "probes": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 120},  # connection tests, tool refresh
    "chat": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 900},  # planning and answering; keeps the embedding model
    "catalogue": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 3600},  # imports and embeddings; keeps the embedding model
}
RQ = {"QUEUE_CLASS": "mcpregistry.queues.TracedQueue", "DEFAULT_RESULT_TTL": 60, "FAILURE_TTL": 7 * 24 * 3600}
# Periodic jobs, for example {"func": "chains.jobs.reconcile", "queue_name": "runs", "interval": 60} (seconds).
RQ_CRON: list[dict[str, Any]] = [
    {"func": "registry.jobs.start_due_imports", "queue_name": "probes", "interval": 60, "ttl": 60, "result_ttl": 60},
    {"func": "registry.jobs.complete_index", "queue_name": "probes", "interval": 60, "ttl": 60, "result_ttl": 60},
    {"func": "chains.jobs.reconcile", "queue_name": "runs", "interval": 10, "ttl": 10, "result_ttl": 10},
    {"func": "chains.jobs.start_scheduled", "queue_name": "runs", "interval": 30, "ttl": 30, "result_ttl": 30},
    {"func": "chat.jobs.embed_results", "queue_name": "chat", "interval": 30, "ttl": 30, "result_ttl": 30},
    {"func": "chat.jobs.tidy_conversations", "queue_name": "chat", "interval": 3600, "ttl": 600, "result_ttl": 60},
    {"func": "chains.jobs.tidy_runs", "queue_name": "catalogue", "interval": 3600, "ttl": 3600, "result_ttl": 60},
    {"func": "registry.jobs.revoke_grants", "queue_name": "probes", "interval": 600, "ttl": 600, "result_ttl": 60},
    {"func": "registry.jobs.schedule_probes", "queue_name": "probes", "interval": 15, "ttl": 15, "result_ttl": 15},
]

# How long runs are kept, in days; 0: for ever
EVENTS_KEEP_DAYS = env_int("EVENTS_KEEP_DAYS", 30)
RUNS_KEEP_DAYS = env_int("RUNS_KEEP_DAYS", 0)

# Accounts
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "mcpregistry.tokens.EndWithPassword"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_ADAPTER = "mcpregistry.accounts.AccountAdapter"
PASSWORD_RESET_TIMEOUT = 24 * 3600  # seconds; the one-time sign-in link lives as long
SIGNUP_OPEN = env_bool("SIGNUP_OPEN", False)

# Mail: letters about accounts. Without a server they are laid into a folder, for whoever runs the registry
EMAIL_HOST = env("EMAIL_HOST")
EMAIL_SECURITY = env_choice("EMAIL_SECURITY", "starttls", "tls", "none")
EMAIL_USE_TLS, EMAIL_USE_SSL = EMAIL_SECURITY == "starttls", EMAIL_SECURITY == "tls"
EMAIL_PORT = env_int("EMAIL_PORT", {"starttls": 587, "tls": 465}.get(EMAIL_SECURITY, 25))
EMAIL_HOST_USER = env("EMAIL_USER")
EMAIL_HOST_PASSWORD = env("EMAIL_PASSWORD")
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = env("EMAIL_FROM") or "MCP Registry <registry@localhost>"
EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[MCP Registry] "
ACCOUNT_EMAIL_VERIFICATION = "optional" if EMAIL_HOST else "none"
ACCOUNT_EMAIL_NOTIFICATIONS = bool(EMAIL_HOST)  # of a changed password, a new or removed second factor
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # strangers make us write to nobody

# Second factor
SECOND_FACTOR = env_choice("SECOND_FACTOR", "optional", "staff", "everyone")  # who must have one
MFA_ADAPTER = "mcpregistry.second_factor.Adapter"
MFA_FORMS = {
    "add_webauthn": "mcpregistry.passkeys.AddForm",
    "login_webauthn": "mcpregistry.passkeys.LoginForm",
    "authenticate_webauthn": "mcpregistry.passkeys.AuthenticateForm",
    "reauthenticate_webauthn": "mcpregistry.passkeys.ReauthenticateForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "MCP Registry"
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # accounts are told apart by user name: nobody is locked out by an address

# HTTP API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "mcpregistry.tokens.ScopedTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["mcpregistry.renderers.QuickJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["mcpregistry.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "mcpregistry.api.CursorPagination",
    "EXCEPTION_HANDLER": "mcpregistry.api.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
REST_KNOX = {"TOKEN_TTL": None, "AUTH_HEADER_PREFIX": "Token", "TOKEN_PREFIX": "mcpr_"}
SPECTACULAR_SETTINGS = {
    "TITLE": "MCP Registry",
    "DESCRIPTION": "Find MCP servers, connect them, and run plans over their tools.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "ServerStatus": "registry.models.Server.Status",
        "RunStatus": "chains.models.Run.Status",
        "RunKind": "chains.models.Run.Kind",
        "StepStatus": "chains.models.ToolRun.Status",
        "MessageStatus": "chat.models.Message.Status",
        "ResultKind": "chains.models.Result.Kind",
        "Transport": "registry.models.Server.Transport",
        "TeamRole": "registry.models.Team.Role",
    },
    "PREPROCESSING_HOOKS": ["mcpregistry.documentation.once"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "mcpregistry.documentation.with_errors",
    ],
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_000_000  # bytes of a request body
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000  # the editor sends some for each argument of each step

# Files
STORAGES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": DATA_DIR / "results", "base_url": None},
    },
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
if env("S3_BUCKET"):
    STORAGES["default"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": env("S3_BUCKET"),
            "endpoint_url": env("S3_ENDPOINT_URL") or None,
            "file_overwrite": False,
            "querystring_auth": True,
        },
    }
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = True

# Language models
OPENAI_API_KEY = env("OPENAI_API_KEY")
OPENAI_BASE_URL = env("OPENAI_BASE_URL") or None
OPENAI_MODEL = env("OPENAI_MODEL") or "gpt-4o"
ANTHROPIC_API_KEY = env("ANTHROPIC_API_KEY")
ANTHROPIC_BASE_URL = env("ANTHROPIC_BASE_URL") or None
ANTHROPIC_MODEL = env("ANTHROPIC_MODEL") or "claude-opus-4-1"
COMPATIBLE_API_KEY = env("COMPATIBLE_API_KEY")
COMPATIBLE_BASE_URL = env("COMPATIBLE_BASE_URL")
COMPATIBLE_MODEL = env("COMPATIBLE_MODEL")
LLM_PROVIDER = env("LLM_PROVIDER") or ("openai" if OPENAI_API_KEY else "anthropic" if ANTHROPIC_API_KEY else "offline")
LLM_FALLBACK = env("LLM_FALLBACK")  # the provider that takes over where the chosen one fails
LLM_PRICES = env("LLM_PRICES")  # "name=input/output", US dollars for a million tokens, comma-separated
LLM_CONTEXT_TOKENS = env_int("LLM_CONTEXT_TOKENS", 0)  # what a model reads at most; 0: as known, else 8,000

# One message's budget: what may be spent on it in all
CHAT_MAX_STEPS = env_int("CHAT_MAX_STEPS", 20)
CHAT_MAX_MODEL_CALLS = env_int("CHAT_MAX_MODEL_CALLS", 12)
CHAT_MAX_TOKENS = env_int("CHAT_MAX_TOKENS", 200_000)
CHAT_MAX_SECONDS = env_int("CHAT_MAX_SECONDS", 900)  # of waiting for models
CHAT_MAX_COST_USD = float(env("CHAT_MAX_COST_USD") or 1)
CHAT_REPLANS = env_int("CHAT_REPLANS", 2)  # how often a run may be planned again after what it saw
CHAT_DECOMPOSE = env_bool("CHAT_DECOMPOSE", True)  # may a model split a long message before tools are searched
CHAT_TURNS = env_int("CHAT_TURNS", 50)  # messages one chat worker plans and answers at once
CHAT_KEEP_DAYS = env_int("CHAT_KEEP_DAYS", 90)  # then messages are summarised and removed; 0: never
EMBEDDING_MODEL = env("EMBEDDING_MODEL")  # a sentence-transformers name or folder, or off; default: the packaged MiniLM

# Catalogues
OFFICIAL_REGISTRY_URL = env("OFFICIAL_REGISTRY_URL") or "https://registry.modelcontextprotocol.io"
SMITHERY_URL = env("SMITHERY_URL") or "https://registry.smithery.ai"
SMITHERY_API_KEY = env("SMITHERY_API_KEY")
MCP_GET_URL = env("MCP_GET_URL") or "https://api.github.com/repos/michaellatman/mcp-get/contents"
DOCKER_CATALOG_URL = env("DOCKER_CATALOG_URL") or "https://desktop.docker.com/mcp/catalog/v2/catalog.yaml"

# Reaching servers
OUTBOUND_ALLOW = env_list("OUTBOUND_ALLOW")
STDIO_SERVERS = env("STDIO_SERVERS") or "staff"  # staff or off
# What a command may take while its session is open: memory and processes all together, the rest each of them
STDIO_MEMORY_MB = env_int("STDIO_MEMORY_MB", 2_000)
STDIO_PROCESSES = env_int("STDIO_PROCESSES", 100)
STDIO_FILES = env_int("STDIO_FILES", 1_024)
STDIO_CPU_SECONDS = env_int("STDIO_CPU_SECONDS", 1_800)

# Time, language, logging
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
LOG_FORMAT = env("LOG_FORMAT") or "line"  # or json
ACCESS_LOG = env_bool("ACCESS_LOG", LOG_FORMAT == "json")  # a line for each request
# They write down whole addresses and requests, and credentials may stand in them.
QUIET = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "urllib3",
    "openai",
    "anthropic",
    "botocore",
    "boto3",
    "s3transfer",
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "mcpregistry.redacted_logs.RedactingFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s%(context)s",
        },
        "json": {
            "()": "mcpregistry.redacted_logs.RedactingJsonFormatter",
            "fmt": ["levelname", "name", "message", "process"],
            "rename_fields": {"levelname": "level", "name": "logger"},
            "reserved_attrs": [*RESERVED_ATTRS, "context"],
            "timestamp": True,
        },
    },
    "filters": {"context": {"()": "mcpregistry.tracing.ContextFilter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["context"]}},
    "root": {"handlers": ["stderr"], "level": env("LOG_LEVEL") or "WARNING"},
    "loggers": {
        **{name: {"level": env("LOG_LEVEL") or "INFO"} for name in ("registry", "chains", "chat", "mcpregistry")},
        "mcp": {"level": "CRITICAL"},  # a traceback for every server that is not MCP; we say it in words
        **{name: {"level": "WARNING"} for name in QUIET},
    },
}

# Watching
METRICS_TOKEN = env("METRICS_TOKEN")
METRICS_DIR = Path(env("METRICS_DIR") or DATA_DIR / "metrics" / socket.gethostname())  # of this machine's web processes
DRAIN_SECONDS = float(env("DRAIN_SECONDS") or 0)  # a web process that is to end serves on for so long, unready

# How often a user or token may do something in a minute, and an address five times as often; 0: as often as they like
RATE_LIMITS = {
    "search": env_int("RATE_SEARCH", 12_000),  # more than a machine answers for long, far more than a person asks
    "write": env_int("RATE_WRITE", 6_000),
    "sign_in": env_int("RATE_SIGN_IN", 30),  # by address alone
}
# How many one user may have; 0: as many as they like
QUOTAS = {
    "servers": env_int("QUOTA_SERVERS", 1_000),
    "templates": env_int("QUOTA_TEMPLATES", 1_000),
    "schedules": env_int("QUOTA_SCHEDULES", 100),
    "tokens": env_int("QUOTA_TOKENS", 100),
    "conversations": env_int("QUOTA_CONVERSATIONS", 10_000),
    "teams": env_int("QUOTA_TEAMS", 100),  # as their admin
    "team members": env_int("QUOTA_TEAM_MEMBERS", 1_000),  # of one team
    "runs": env_int("QUOTA_RUNS", 1_000),  # waiting or under way
}
RUNS_AT_ONCE = env_int("RUNS_AT_ONCE", 10)  # of one user; others of theirs wait
PROXIES = env_int("PROXIES", 0)  # how many proxies of our own a request passes
ALLAUTH_TRUSTED_PROXY_COUNT = PROXIES

# Browser security
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = SESSION_COOKIE_SAMESITE = "Lax"
HTTPS = env_bool("HTTPS", False)  # a proxy with TLS stands in front and says so in X-Forwarded-Proto
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REDIRECT_EXEMPT = [r"^(healthz|livez|readyz|metrics)$"]  # asked from within
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # other names of the operator's domain are not ours to bind to HTTPS,
    "security.W021",  # nor to put on the browsers' list of such domains
]
