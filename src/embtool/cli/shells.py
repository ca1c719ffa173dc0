"""How shells ask for completions, and how they are answered.

Typer knows how to find what is completed. Its own scripts, though, hand answers to `eval` or leave them unquoted, which
is right for names of a program's author and wrong for tokens, the strings of strangers; so each shell has a script of
ours here, which `take_over` puts in the place of Typer's. They go the way of Typer's: `--install-completion` and
`--show-completion` install and print them, the variable `_EMBTOOL_COMPLETE` asks.

An answer is a line that says which files the shell may add (`files`, `models`, or nothing), then a line for each value:
the value, a tab, its help text. Values hold no character that is not printable. zsh and fish quote values themselves;
for bash they are quoted here.
"""

import contextlib
import io
import os
import re
import sys
from typing import Any

from embtool.cli.completion import FILES
from embtool.cli.typer_internals import (
    ASKED,
    CompletionItem,
    ShellComplete,
    replace_shells,
    resolve_completion,
    shell_name,
    takes_files,
)

WORDS = "_TYPER_COMPLETE_ARGS"
BREAKS = "_TYPER_COMPLETE_BREAKS"

BASH = r"""
%(complete_func)s() {
    local answer path
    mapfile -t answer < <(_TYPER_COMPLETE_ARGS="${COMP_LINE:0:COMP_POINT}" _TYPER_COMPLETE_BREAKS="$COMP_WORDBREAKS" \
        %(autocomplete_var)s=complete_bash "${1/#\~/$HOME}" 2>/dev/null)
    COMPREPLY=("${answer[@]:1}")
    if [[ ${answer[0]} == files ]]; then
        compopt -o default
    elif [[ ${answer[0]} == models ]]; then
        local names=${#COMPREPLY[@]}
        (( names )) || compopt -o filenames
        while IFS= read -r path; do
            [[ ${path##*/} == .* && ${COMP_WORDS[COMP_CWORD]##*/} != .* ]] && continue
            if [[ -d ${path/#\~/$HOME} ]]; then
                (( names )) && printf -v path '%%q/' "$path"
            elif [[ $path != *.safetensors && $path != *.gguf && $path != *.index.json ]]; then
                continue
            elif (( names )); then
                printf -v path '%%q' "$path"
            fi
            COMPREPLY+=("$path")
        done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
        (( ${#COMPREPLY[@]} )) || compopt -o default
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:/=] ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

ZSH = r"""
#compdef %(prog_name)s

%(complete_func)s() {
  local typed="${(Q)PREFIX}" line value
  local -a answer values shown open opened
  local -i width=0 helped=0
  answer=("${(@f)$(%(autocomplete_var)s=complete_zsh \
    _TYPER_COMPLETE_ARGS="${(F)${(@Q)words[1,CURRENT-1]}}"$'\n'"$typed" "${words[1]/#\~/$HOME}" 2>/dev/null)}")
  [[ $PREFIX == --*=* ]] && compset -P 1 '*='
  for line in "${(@)answer[2,-1]}"; do
    value="${line%%%%$'\t'*}"
    (( ${(m)#value} > width )) && width=${(m)#value}
    [[ $line == *$'\t'?* ]] && helped=1
  done
  for line in "${(@)answer[2,-1]}"; do
    value="${line%%%%$'\t'*}"
    [[ $line == *$'\t'?* ]] && line="${(mr:width:)value}  ${line#*$'\t'}" || line="$value"
    if [[ $value == *: ]]; then
      open+=("$value"); opened+=("$line")
    else
      values+=("$value"); shown+=("$line")
    fi
  done
  local -a form
  (( helped )) && form=(-l)
  (( $#values )) && compadd $form -V embtool -d shown -a values
  (( $#open )) && compadd $form -S '' -V embtool-forms -d opened -a open
  case "$answer[1]" in
    files) _files ;;
    models) _files -g '*.(safetensors|gguf|index.json)' ;;
  esac
}

if [[ $funcstack[1] == _%(prog_name)s ]]; then
  %(complete_func)s "$@"
else
  compdef %(complete_func)s %(prog_name)s
fi
"""

FISH = r"""
function %(complete_func)s
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -lx %(autocomplete_var)s complete_fish
    set -lx _TYPER_COMPLETE_ARGS (string join \n -- $words "$current" | string collect)
    set -l program (string replace -r '^~' $HOME -- $words[1])
    set -l answer ($program 2>/dev/null)
    printf '%%s\n' $answer[2..-1]
    switch "$answer[1]"
        case files
            __fish_complete_path (commandline -ct)
        case models
            set -l models '^[^\t]*(?:/|\.safetensors|\.gguf|\.index\.json)(?:\t.*)?$'
            __fish_complete_path (commandline -ct) | string match -r $models
    end
end

complete --command %(prog_name)s --no-files --keep-order --arguments '(%(complete_func)s)'
"""


class _Shell(ShellComplete):
    """A shell that sends its words a line each, the one to complete last, and quotes what it is given."""

    name = ""
    source_template = ""

    def source_vars(self) -> dict[str, Any]:
        return {
            "complete_func": self.func_name,
            "autocomplete_var": self.complete_var,
            "prog_name": self.prog_name,
        }

    def get_completion_args(self) -> tuple[list[str], str]:
        words = os.environ.get(WORDS, "").split("\n")
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.value}\t{item.help}" if item.help else str(item.value)

    def prefixed(self, value: str, before: str) -> str | None:
        """Give a value the text that the shell replaces with it, such as `--metric=`; None leaves it out."""
        return before + value

    def complete(self) -> str:
        args, incomplete = self.get_completion_args()
        context, asked, part = resolve_completion(self, args, incomplete)
        offered = asked.shell_complete(context, part)
        lines = []
        for item in offered:
            value = self.prefixed(str(item.value), incomplete.removesuffix(part))
            if value is not None and value.isprintable():
                text = "".join(c if c.isprintable() else " " for c in item.help or "")
                lines.append(self.format_completion(CompletionItem(value, help=text)))
        return "\n".join([context.meta.get(FILES, "files" if takes_files(asked) else ""), *lines])


class _Zsh(_Shell):
    name = "zsh"
    source_template = ZSH

    def prefixed(self, value: str, before: str) -> str | None:
        """Leave it to the script, which cuts `--metric=` off."""
        del before
        return value


class _Fish(_Shell):
    """fish sends the word to complete as it was typed, perhaps with a quote open."""

    name = "fish"
    source_template = FISH

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        return args, split_line(incomplete)[0][0]


class _Bash(_Shell):
    """bash sends the line; what it replaces is the part of the last word behind the last word break."""

    name = "bash"
    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        words, self._raw, self._quote = split_line(os.environ.get(WORDS, ""))
        return words[1:-1], words[-1]

    def prefixed(self, value: str, before: str) -> str | None:
        whole = quote_for_bash(before + value, self._quote)
        breaks = "" if self._quote else os.environ.get(BREAKS, " \t\n\"'@><=;|&(:")
        place = max((self._raw.rfind(each) for each in breaks if not each.isspace()), default=-1) + 1
        if whole is None or not whole.startswith(self._raw[:place]):
            return None
        return whole[place:]

    def format_completion(self, item: CompletionItem) -> str:
        return str(item.value)


def split_line(line: str) -> tuple[list[str], str, str]:
    r"""Split a line of bash up to the cursor: its words, the last one as it was typed, and the quote open in it.

    >>> split_line("embtool row ' str")
    (['embtool', 'row', ' str'], ' str', "'")
    >>> split_line(r"embtool row \ str")
    (['embtool', 'row', ' str'], '\\ str', '')
    """
    words: list[str] = [""]
    start, quote, place, begun = 0, "", 0, False
    while place < len(line):
        character = line[place]
        following = line[place + 1 : place + 2]
        if quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote, begun = character, True
            if words[-1] == "":
                start = place + 1
        elif character == "\\" and quote != "'" and (not quote or following in '$`"\\'):
            words[-1] += following
            place += 1
            begun = True
        elif not quote and character.isspace():
            if begun:
                words.append("")
            start, begun = place + 1, False
        else:
            words[-1] += character
            begun = True
        place += 1
    return words, line[start:], quote


def quote_for_bash(text: str, quote: str) -> str | None:
    """Write a text as bash reads it, inside the quote that is open; None where that cannot be written."""
    if quote == "'":
        return None if "'" in text else text
    if quote == '"':
        return None if "!" in text else re.sub(r'[$`"\\]', r"\\\g<0>", text)
    return re.sub(r"[^\w%+,./:=@^-]", r"\\\g<0>", text)


SHELLS: dict[str, type[_Shell]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def take_over() -> None:
    """Put the shells of this module in the place of Typer's; to be called after Typer has made its command."""
    replace_shells(SHELLS, {name: shell.source_template for name, shell in SHELLS.items()})


def unknown_shell() -> str | None:
    """Return the name of the shell in which the program was called if it is none of these."""
    name = shell_name()
    return None if name in SHELLS else name or "unknown"


def answer(command: Any) -> int:
    """Answer a shell; whatever goes wrong, it gets no completions, and a person's terminal no message."""
    if os.environ[ASKED].startswith("source"):
        take_over()
        result: int = command.main([], prog_name="embtool", standalone_mode=False)
        return result
    written = io.StringIO()
    try:
        with contextlib.redirect_stdout(written), contextlib.redirect_stderr(io.StringIO()):
            take_over()
            command.main([], prog_name="embtool", standalone_mode=False)
    except SystemExit:
        pass
    except Exception:  # noqa: BLE001 - nobody reads an error between two keystrokes
        return 0
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(written.getvalue())
    return 0
