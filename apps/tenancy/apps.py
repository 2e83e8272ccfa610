from django.apps import AppConfig


class TenancyConfig(AppConfig):
    name = "apps.tenancy"

    def ready(self) -> None:
        """Register the checks."""
        from apps.tenancy import checks  # noqa: F401, PLC0415
