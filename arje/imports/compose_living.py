"""How a compose service lives: its restarts, its health, whom it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arje.imports.compose_words import Field
from arje.imports.draft import Draft
from arje.imports.yaml_nodes import Mapping, Sequence

if TYPE_CHECKING:
    from arje.imports.compose import Whole


def living(draft: Draft, name: str, fields: dict[str, Field], whole: Whole) -> None:
    if "restart" in fields:
        _restart(draft, fields["restart"])
    health = fields.get("healthcheck")
    if name in whole.awaited:
        why = "its health is waited for by others: it is ready once its test ends well"
        test = _test(health.parts["test"]) if health and "test" in health.parts else None
        if health and test:
            draft.near(health.place, "healthcheck", why, "supervision.readiness", {"exec": test, "interval": "1s"})
        else:
            draft.near(
                draft.place, "its health", "its test is the image's, and not in this file: it is ready once it runs"
            )
    if name in whole.ending:
        why = "others wait for its good end"
        draft.near(draft.place, "service_completed_successfully", why, "supervision.kind", "one-shot")


def _restart(draft: Draft, field: Field) -> None:
    policy, _, most = field.text.partition(":")
    if policy in ("no", "false", ""):
        draft.kept(field.place, f"restart: {policy}", "supervision.restart", "never")
        return
    if policy not in ("always", "on-failure", "unless-stopped"):
        raise field.bad(f"restart: {field.text}", "no, always, on-failure or unless-stopped")
    if policy == "unless-stopped":
        why = "after a boot it is started even if it was stopped by hand; arjectl disable sticks"
        draft.near(field.place, "restart: unless-stopped", why, "supervision.restart", "always")
    else:
        draft.kept(field.place, f"restart: {field.text}", "supervision.restart", policy)
    draft.fields["supervision.initial"], draft.fields["supervision.max"] = "100ms", "1m"  # docker's own back-off
    limit: dict[str, Any] = {"starts": 0}
    if most.isdecimal():
        limit = {"starts": int(most) + 1, "interval": "1h"}
    draft.fields["supervision.rate_limit"] = limit


def _test(field: Field) -> list[str] | None:
    """Return the command of a health test; None for none."""
    words = field.texts if isinstance(field.node, Sequence) else ["CMD-SHELL", field.text]
    if words[:1] == ["CMD"] and words[1:]:
        return words[1:]
    if words[:1] == ["CMD-SHELL"] and len(words) == 2:
        return ["/bin/sh", "-c", words[1]]
    if words == ["NONE"]:
        return None
    raise field.bad("it is no test", 'write ["CMD", "prog"] or ["CMD-SHELL", "command"]')


def healthcheck(draft: Draft, field: Field) -> None:
    parts = field.parts
    if "disable" in parts and parts["disable"].truth:
        draft.kept(field.place, "healthcheck: disable")
        return
    command = _test(parts["test"]) if "test" in parts else None
    if command is None:
        draft.lost(field.place, "healthcheck", "its test is the image's own, which is not in this file")
        return
    table: dict[str, Any] = {"exec": command}
    table["interval"] = parts["interval"].duration if "interval" in parts else "30s"
    if "timeout" in parts:
        table["timeout"] = parts["timeout"].duration
    if "retries" in parts:
        table["retries"] = parts["retries"].number
    why = "docker only tells of it; here it is restarted"
    draft.near(field.place, "healthcheck", why, "supervision.health", table)
    for name in ("start_period", "start_interval"):
        if name in parts:
            draft.lost(parts[name].place, name, "health is looked after once it is ready")


def depends(draft: Draft, field: Field) -> None:
    if not isinstance(field.node, Mapping):
        for item in field.each:
            draft.add(item.place, f"depends_on: {item.text}", "wants", [item.text])
        return
    for name, terms in field.parts.items():
        condition = "service_started"
        if isinstance(terms.node, Mapping) and "condition" in terms.parts:
            condition = terms.parts["condition"].text
        edge = "wants" if condition == "service_started" else "waits_for"
        draft.add(terms.place, f"depends_on: {name} ({condition})", edge, [name])
