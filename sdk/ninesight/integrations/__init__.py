"""The SDK inside other people's frameworks. Each module imports its framework only when it is used."""

__all__: list[str] = []
