"""The manager's error replies in words, with what to type next, and the exit code of each."""

from __future__ import annotations

from arje.ctl.exitcodes import Action, Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from arje.ctl.arguments import Arguments
    from arje.ctl.client import CallError
    from arje.ctl.verb import Verb


def told(verb: Verb, args: Arguments, error: CallError) -> tuple[str, int]:
    """Return an error reply in words, and its exit code."""
    told = error.parameters
    if error.name == "NoSuchService":
        code = Query.NO_SUCH_SERVICE if verb.query else Action.NO_SUCH_SERVICE
        return f"no service {told.get('label')!r}{_instead(args, told)}", code
    if error.name == "PermissionDenied":
        text = f"user {told.get('uid')} may look, not change: become root or the manager's user"
        return text, Action.NO_PERMISSION
    if error.name == "NotRunning":
        label = told.get("label")
        text = (
            f"{label} is {told.get('state')}: it has no process to change; arjectl start {label}, arjectl why {label}"
        )
        return text, Action.NOT_RUNNING
    if error.name == "CannotSet":
        from arje.ctl import limits_verbs

        code = Action.USAGE if args.verb in ("set", "harden") else Action.CARD_INVALID
        return limits_verbs.cannot(told["problems"]), code
    if error.name == "NotPid1":
        pid = told.get("pid")
        user = "runs with --user: it is nobody's init"
        why = user if pid == 1 else f"is process {pid}, no machine's and no container's first"
        return f"{told.get('what')}: that manager {why}", Action.NOT_PID1
    if error.name == "CannotEnd":
        return f"{told.get('way')}: {told.get('why')}", Action.FAILED
    if error.name == "BadReport":
        return str(told.get("message")), Action.USAGE
    if error.name == "Ordering":
        return str(told.get("message")), Action.FAILED
    if error.name == "MethodNotFound":
        text = (
            f"this manager does not know how to {args.verb}: it is older than arjectl; arjectl ping tells its version"
        )
        return text, Action.FAILED
    if error.name == "InternalError":
        return f"arje itself failed at {told.get('method')}; its own log has the traceback", Action.FAILED
    import json

    return f"the manager says {error.name}: {json.dumps(told)}", Action.FAILED


def _instead(args: Arguments, told: dict[str, object]) -> str:
    """What to do about a label that nobody has."""
    problems, nearest = told.get("problems"), told.get("nearest")
    if isinstance(problems, list) and problems:
        from arje.ctl.forecast import problem_text

        return f"; its card cannot be loaded: {'; '.join(map(problem_text, problems))}"
    if nearest:
        return f"; did you mean {nearest}? arjectl {args.verb} {nearest}"
    return "; arjectl list tells which there are"
