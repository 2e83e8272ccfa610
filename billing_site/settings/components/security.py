"""Passwords, cookies, hosts, headers."""

from billing_site.settings.components.environment import ENV

ALLOWED_HOSTS = [ENV.base_domain, f".{ENV.base_domain}"] + (["127.0.0.1"] if ENV.debug else [])
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["apps.identity.backends.RoleBackend"]

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = ENV.is_https
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 60 * 60
CSRF_COOKIE_SECURE = ENV.is_https
SECURE_SSL_REDIRECT = False
# The door for events answers no redirect, which a producer would follow after it has told its key in clear.
INTAKE_TLS_REQUIRED = ENV.is_https
SECURE_HSTS_SECONDS = 31_536_000 if ENV.is_https else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.is_https else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024 + 65_536
