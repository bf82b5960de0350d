"""Why an entry differs: shown in `docs/conformance.md`. It counts as a difference all the same."""

REASONS: dict[str, str] = {}
