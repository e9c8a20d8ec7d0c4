# profile.d of arje: a user with cards of their own has a manager from the first login to the end of the last.
# Not where systemd --user keeps it already: systemctl --user enable arje. Sourced by sh; $$ is the session's process.
if command -v arje-login >/dev/null && [ -z "${ARJE_LOGIN-}" ] &&
    [ -d "${XDG_CONFIG_HOME:-$HOME/.config}/arje/cards.d" ] &&
    ! [ -e "${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/default.target.wants/arje.service" ]; then
    export ARJE_LOGIN=$$
    (setsid arje-login $$ </dev/null >/dev/null 2>&1 &)
fi
