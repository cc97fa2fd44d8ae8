"""Settings of the project. Every variable read here is explained in `.env.example`."""

import sys
from pathlib import Path
from typing import Any

from corsheaders.defaults import default_headers
from django.core.exceptions import ImproperlyConfigured

from database.config import configure
from database.environment import Environment
from scheduler.rest.addresses import networks
from scheduler.staff import navigation

BASE_DIR = Path(__file__).resolve().parent.parent

environment = Environment.of_project(BASE_DIR)

DEBUG = environment.switch("DEBUG", False)

# Sessions and password-reset links are signed with it, so a built-in value would be everybody's key.
SECRET_KEY = environment.text("SECRET_KEY")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("SECRET_KEY is not set; it is required when DEBUG is off.")
    SECRET_KEY = "debug-only-key-never-used-in-production"
# Keys of the past: traces of erased people that were made with them are still found (leads/tombstones.py).
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")

ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")

# Pages of these origins may use the API, with cookies. No other path answers to other origins.
CORS_ALLOWED_ORIGINS = environment.words("CORS_ALLOWED_ORIGINS")
CORS_ALLOW_CREDENTIALS = True
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = (*default_headers, "x-api-key", "idempotency-key", "x-request-id")
CORS_EXPOSE_HEADERS = [
    "Link",
    "X-Total-Count",
    "X-Total-Count-Estimated",
    "X-Request-ID",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "Idempotent-Replayed",
]
# Bytes of a body without files; 10,000 leads in one transfer are about 2 MB.
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
# Bytes of a request with files; a million leads as CSV are about 60 MB. Larger files are kept on the disk meanwhile.
LARGEST_UPLOAD = 512 * 1024 * 1024
FILE_UPLOAD_HANDLERS = [
    "scheduler.rest.uploads.UploadLimit",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

INSTALLED_APPS = [
    # Before the admin, whose templates and site it replaces.
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "corsheaders",
    "ninja",
    "procrastinate.contrib.django",
    "database",
    "scheduler",
    "partners",
    "leads",
    "calls",
    "meetings",
    "analytics",
    "legacy",
]

MIDDLEWARE = [
    "scheduler.observe.Observe",
    "django.middleware.security.SecurityMiddleware",
    "scheduler.content_policy.ContentPolicy",
    # Requests below /api/ end here, and CORS is here too: what stands behind is for pages.
    "scheduler.rest.middleware.RestMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "scheduler.urls"
WSGI_APPLICATION = "scheduler.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the apps' folders: a template of unfold's name here extends the one of unfold.
        "DIRS": [BASE_DIR / "scheduler" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

configuration = configure(environment, BASE_DIR, sys.argv, debug=DEBUG)
DATABASES = configuration.databases
DATABASE_URL_SOURCE = configuration.url_source
DATABASE_POOL_MODE = configuration.pool_mode
DATABASE_PROCESSES = configuration.processes
DATABASE_REPLICA_MAX_LAG = configuration.replica_max_lag
DATABASE_ROUTERS = ["database.replica.ReplicaRouter"]
# Jobs arrive by LISTEN, for which transaction pooling has no session: workers then ask every few seconds.
PROCRASTINATE_WORKER_DEFAULTS = {
    "listen_notify": DATABASE_POOL_MODE != "pgbouncer",
    "fetch_job_polling_interval": 1.0 if DATABASE_POOL_MODE == "pgbouncer" else 5.0,
    "delete_jobs": "successful",
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["scheduler.rest.sign_in.LimitedSignIn"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

UNFOLD = navigation.UNFOLD
# Where the sign-in page leads when nobody asked for another page.
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# The data is UTC in the database whatever is set here; this is what people see.
TIME_ZONE = environment.zone("TIME_ZONE", "UTC")
USE_TZ = True
LANGUAGE_CODE = "en-us"
USE_I18N = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / ".local" / "static"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
# With DEBUG on, files are found in the apps, so a missing collectstatic does not break the admin.
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG

# Behind a proxy that ends TLS, which must set this header itself and drop the one a client sends.
SECURE_SSL_REDIRECT = environment.switch("SECURE_SSL_REDIRECT", not DEBUG)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = SECURE_SSL_REDIRECT
CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT
# A working day. The CSRF cookie stays readable for scripts: those of /api/docs send it in a header.
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
# How long browsers remember to come by https only; a year unless http is answered.
SECURE_HSTS_SECONDS = environment.whole("SECURE_HSTS_SECONDS", 31_536_000 if SECURE_SSL_REDIRECT else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_SECONDS > 0
# Browsers' built-in lists take whole domains only, which may be home to more than this system.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Who may say in X-Forwarded-For where a request comes from: failed sign-ins are counted by address.
TRUSTED_PROXIES = networks(environment.words("TRUSTED_PROXIES"))
# Empty: rate limits are kept in PostgreSQL.
REDIS_URL = configuration.redis_url

# prometheus-client reads it from the process environment, when it is first imported.
METRICS_DIR = Path(environment.text("PROMETHEUS_MULTIPROC_DIR") or BASE_DIR / ".local" / "metrics")
METRICS_DIR.mkdir(parents=True, exist_ok=True)
environment.publish("PROMETHEUS_MULTIPROC_DIR", str(METRICS_DIR))
METRICS_TOKEN = environment.text("METRICS_TOKEN")

# Legacy files below it may be imported from the admin; empty: none may.
IMPORT_FOLDER = environment.text("IMPORT_FOLDER")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "scheduler.rest.request_ids.RequestIdFilter"}},
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} [{request_id}]: {message}", "style": "{"}
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    # SQL with its parameters carries names and phone numbers, so it is never logged, not even with DEBUG on.
    "loggers": {
        "django.db.backends": {"level": "WARNING"},
        # Every process would begin by listing the tasks it knows.
        "procrastinate.blueprints": {"level": "WARNING"},
        "procrastinate.periodic": {"level": "WARNING"},
    },
}
