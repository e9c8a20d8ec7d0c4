"""``arjectl completion bash|zsh|fish``: a script that asks this arjectl at each Tab, so that it knows what is there now.

The script calls ``arjectl completion answer -- WORDS``: the first line says what the shell is to add by itself, each
further one is a word, a tab, and what it means.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

_BASH: Final = r"""# bash completion for arjectl; load it with: source <(arjectl completion bash)
_arjectl() {
    local line=${COMP_LINE:0:COMP_POINT} words current prefix kind word
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    # What readline takes for the word begins behind the last : or =, and at the last @ (its rl_special_prefixes).
    prefix=${current%"${current##*[:=]}"}
    [[ ${current#"$prefix"} == *@* ]] && prefix+=${current#"$prefix"} && prefix=${prefix%@*}
    COMPREPLY=()
    while IFS= read -r word; do
        if [[ ! -v kind ]]; then
            kind=$word
        else
            COMPREPLY+=("${word#"$prefix"}")
        fi
    done < <("${words[0]}" completion answer -- "${words[@]:1}" 2>/dev/null | cut -f1)
    case ${kind-} in
        files) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "${current#"$prefix"}") ;;
        directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "${current#"$prefix"}") ;;
        command) mapfile -t COMPREPLY < <(compgen -c -f -- "$current") ;;
    esac
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _arjectl arjectl
"""
_ZSH: Final = r"""#compdef arjectl
# zsh completion for arjectl; load it with: source <(arjectl completion zsh)
_arjectl() {
    local -a lines found shown
    local each
    lines=("${(@f)$("${words[1]}" completion answer -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for each in "${(@)lines[2,-1]}"; do
        [[ -n $each ]] || continue
        found+=("${each%%$'\t'*}")
        shown+=("${${each/$'\t'/  -- }%  -- }")
    done
    local -a more
    (( ${#found} == 1 )) && [[ $found[1] == *= ]] && more=(-S '')
    (( ${#found} )) && compadd -l $more -d shown -a found
    case $lines[1] in
        files) _files ;;
        directories) _files -/ ;;
        command) _alternative 'commands:command:_command_names -e' 'files:file:_files' ;;
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _arjectl "$@"; else compdef _arjectl arjectl; fi
"""
_FISH: Final = r"""# fish completion for arjectl; load it with: arjectl completion fish | source
function __arjectl_answer
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] completion answer -- $words[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case directories
            __fish_complete_directories "$current"
        case command
            __fish_complete_command
    end
    test (count $lines) -gt 1; and string join \n -- $lines[2..-1]
end
complete -c arjectl -f -a '(__arjectl_answer)'
"""
SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(client: Client, args: Arguments, paper: Paper) -> int:
    """Print the script of a shell, or answer one that asks. Needs no manager."""
    shell = args.labels[0]
    if shell in SCRIPTS:
        if args.json:
            import json

            paper.line(json.dumps({"shell": shell, "script": SCRIPTS[shell]}))
        else:
            paper.line(SCRIPTS[shell].rstrip("\n"))
        return 0
    from arje.ctl import complete
    from arje.ctl.words import escape

    by_shell, found = complete.answer(args.command)
    if args.json:
        import json

        paper.line(
            json.dumps({"by_shell": by_shell, "words": [{"word": word, "about": about} for word, about in found]})
        )
        return 0
    paper.line(by_shell)
    for word, about in found:
        paper.line(f"{word}\t{escape(' '.join(about.split()))}")
    return 0
