from django import template

register = template.Library()


@register.filter
def worded(value: str | None) -> str:
    """Write a stored status or outcome for people."""
    return (value or "").replace("_", " ")


@register.filter
def length_of_call(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
