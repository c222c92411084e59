"""Completion for bash, zsh and fish, made from the tables of options and commands.

Pure text. ``contrib/generate`` writes the files.
"""

from __future__ import annotations

from sftpfs.cli.commands.row import Command, Word
from sftpfs.cli.commands.table import COMMANDS
from sftpfs.cli.options.row import Option, Section
from sftpfs.cli.options.ssh_keywords import SSH_KEYWORDS
from sftpfs.cli.options.table import OPTIONS

NOTE = "# Made by contrib/generate from the tables of sftpfs.cli; do not edit."


def names() -> list[str]:
    """What may follow ``-o``: options of use, then ssh_config's keywords; ``=`` where a value follows."""
    known = []
    for option in OPTIONS:
        if option.name and option.section is not Section.REFUSED:
            known += [name + ("=" if option.takes_value else "") for name in (option.name, *option.aliases)]
    return [*known, *(f"{keyword}=" for keyword in SSH_KEYWORDS.values())]


def values() -> list[str]:
    """``name=value`` of the options of use that take one of a few words."""
    return [
        f"{name}={value}"
        for option in OPTIONS
        if option.takes_value and "|" in option.metavar
        for name in (option.name, *option.aliases)
        for value in option.metavar.split("|")
    ]


def letters() -> list[Option]:
    """Options with a letter or a long form."""
    return [option for option in OPTIONS if option.flags]


def _flags(command: Command) -> list[str]:
    return [flag for switch in command.switches for flag in switch.flags] + ["--help"]


def _takes(command: Command, word: Word) -> bool:
    return any(argument.word is word for argument in command.arguments)


def bash() -> str:
    """For /usr/share/bash-completion/completions/sftpfs."""
    cases = []
    for command in COMMANDS:
        more = '; _sftpfs_mounts "$current"' if _takes(command, Word.MOUNTPOINT) else ""
        more += "; kind=-f" if _takes(command, Word.PATH) else ""
        cases.append(f'        {command.name}) words="{" ".join(_flags(command))}"{more} ;;')
    flags = " ".join(flag for option in letters() for flag in option.flags)
    return f"""{NOTE}
# Not with compgen -W, which would run commands in the name of somebody's mountpoint
_sftpfs_mounts() {{
    local path type
    while read -r _ path type _; do
        printf -v path %b "$path"
        [[ $type == fuse.sftpfs && $path == "${{1//\\\\/}}"* ]] && COMPREPLY+=("$path")
    done </proc/self/mounts
}}

_sftpfs() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words="" head=""
    local line=${{COMP_LINE:0:COMP_POINT}} kind=-d at
    COMPREPLY=()
    local names="{" ".join(names())}"
    # bash splits words at "=", so the list after -o is put together again
    if [[ $previous == -o || $line =~ [[:space:]]-o[[:space:]]*[^[:space:]]*$ ]]; then
        current=${{line##*[[:space:]]}}
        [[ $current == -o* ]] && head=-o
        current=${{current#-o}}
        [[ $current == *,* ]] && head+=${{current%,*}},
        current=${{current##*,}}
        [[ $current == *=* ]] && names="{" ".join(values())}"
        compopt -o nospace
        # what is before the last of bash's word breaks is another word, and stays as it is
        for ((at = ${{#head}}; at > 0; at--)); do
            [[ $COMP_WORDBREAKS == *"${{head:at-1:1}}"* ]] && break
        done
        [[ ${{head:at-1:1}} == @ ]] && ((at -= at > 0))
        head=${{head:at}}
        COMPREPLY=($(compgen -P "$head" -W "$names" -- "$current"))
        [[ $current == *=* && $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${{COMPREPLY[@]##*=}}")
        return
    fi
    case $previous in
        -F) COMPREPLY=($(compgen -f -- "$current")); return ;;
        -p) return ;;
    esac
    if [[ $COMP_CWORD -eq 1 && $current != -* ]]; then
        COMPREPLY=($(compgen -W "{" ".join(command.name for command in COMMANDS)}" -- "$current"))
        declare -F _known_hosts_real >/dev/null && _known_hosts_real -c -a -- "$current"
        return
    fi
    case ${{COMP_WORDS[1]}} in
{chr(10).join(cases)}
        *) [[ $current == -* ]] && words="{flags} -o" ;;
    esac
    COMPREPLY+=($(compgen -W "$words" -- "$current"))
    [[ $current == -* ]] && return
    compopt -o filenames
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen $kind -- "$current")
}}
complete -F _sftpfs sftpfs
"""


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


def _zsh_kind(command: Command) -> str:
    return "mount" if _takes(command, Word.MOUNTPOINT) else "file"


def zsh() -> str:
    """For a directory of zsh's fpath, as _sftpfs."""
    commands = "\n".join(f"        '{c.name}:{_quoted(c.summary)}'" for c in COMMANDS)
    flags = []
    for option in letters():
        for flag in option.flags:
            value = f":{option.metavar}:_files" if flag == "-F" else f":{option.metavar}:"
            help_text = _quoted(option.help.replace("[", "(").replace("]", ")").replace(":", "\\:"))
            flags.append(f"        '{flag}[{help_text}]{value if option.takes_value else ''}'")
    cases = "\n".join(
        f"            {each.name}) _sftpfs_words {_zsh_kind(each)} {' '.join(_flags(each))}; return ;;"
        for each in COMMANDS
    )
    return f"""#compdef sftpfs mount.sftpfs
{NOTE}
_sftpfs_names() {{
    local -a names
    names=({" ".join(f"'{name}'" for name in [*names(), *values()])})
    compset -P '*,'
    compadd -S '' -- $names
}}

_sftpfs_mounts() {{
    local -a mounts
    local source where type rest
    while read -r source where type rest; do
        [[ $type == fuse.sftpfs ]] && mounts+=("${{(g:o:)where}}")
    done </proc/self/mounts
    compadd -f -- $mounts
}}

_sftpfs_words() {{
    local kind=$1
    shift
    if [[ $words[CURRENT-1] == -o ]]; then
        _sftpfs_names
    elif [[ $PREFIX == -* ]]; then
        compadd -- "$@"
    elif [[ $kind == mount ]]; then
        _sftpfs_mounts || _files
    else
        _files
    fi
}}

_sftpfs_server() {{
    local -a commands
    commands=(
{commands}
    )
    _describe -t commands command commands
    _ssh_hosts -S : 2>/dev/null || _hosts -S :
}}

_sftpfs() {{
    if (( CURRENT > 2 )); then
        case $words[2] in
{cases}
            *) ;;
        esac
    fi
    _arguments -s \\
{" ".join(chr(92) + chr(10) + flag for flag in flags)[2:]} \\
        '*-o+[options, separated by commas]:option:_sftpfs_names' \\
        '1:server:_sftpfs_server' \\
        '2:mountpoint:_directories'
}}

_sftpfs "$@"
"""


def fish() -> str:
    """For a directory of fish's completions, as sftpfs.fish."""
    lines = [
        NOTE,
        "function __sftpfs_names",
        # Without -o, which fish 4 puts before the word itself, and fish 3 takes either way.
        "    set -l given (commandline -ct | string replace -r '^-o' '' | string replace -r '[^,]*$' '')",
        f"    for name in {' '.join([*names(), *values()])}",
        "        echo $given$name",
        "    end",
        "end",
        "function __sftpfs_mounts",
        "    string match -rg '^\\S+ (\\S+) fuse.sftpfs' < /proc/self/mounts | while read -l path",
        "        printf '%b\\n' $path",
        "    end",
        "end",
        "complete -c sftpfs -n __fish_is_first_arg -a '(__fish_print_hostnames):'",
        "complete -c sftpfs -s o -x -a '(__sftpfs_names)' -d 'options, separated by commas'",
    ]
    for option in letters():
        for flag in option.flags:
            form = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            kind = " -r" if option.takes_value else ""
            lines.append(f"complete -c sftpfs {form}{kind} -d '{_fish(option.help)}'")
    for command in COMMANDS:
        lines.append(
            f"complete -c sftpfs -n __fish_is_first_arg -a {command.name} -d '{_fish(command.summary)}'"
        )
        inside = f"'__fish_seen_subcommand_from {command.name}'"
        if _takes(command, Word.MOUNTPOINT):
            lines.append(f"complete -c sftpfs -n {inside} -a '(__sftpfs_mounts)'")
        for switch in command.switches:
            for flag in switch.flags:
                form = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                kind = " -r" if switch.parse else ""
                lines.append(f"complete -c sftpfs -n {inside} {form}{kind} -d '{_fish(switch.help)}'")
    return "\n".join(lines) + "\n"


def _fish(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
