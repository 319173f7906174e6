"""What documents say, and what there is: commands, options, messages, names of files.

A document is read as its readers read it, and what it names is looked for in the programs and in
the source; nothing here knows what any document says.
"""

import functools
import os
import re
import shlex
import signal

from host import PATH, run
from zramfs import BINARY, CTL, ROOT

# A string in C, and those that the compiler adds to it.
STRING = r'"((?:\\.|[^"\\\n])*)"'
STRINGS = re.compile(rf"{STRING}(?:\s*(?:PRI\w+\s*)?{STRING})*")
CONVERSION = re.compile(r"%[-+ #0-9.*]*(?:ll|l|z|h|j)?[a-zA-Z]?|\x00")


@functools.cache
def fragments():
    """What messages are made of: strings of the source between what is put into them, long first."""
    found = {os.strerror(number) for number in range(1, 134)}
    found |= {signal.strsignal(number) for number in range(1, 32)}
    for directory in ("zramfs", "zramfs/ctl", "conf", "lib"):
        for path in sorted((ROOT / directory).glob("*.[ch]")):
            text = re.sub(r'"\s*PRI\w+\s*"', r'\\x00', path.read_text())
            for strings in STRINGS.finditer(text):
                whole = "".join(re.findall(STRING, strings[0]))
                whole = whole.replace(r"\x00", "\0").replace(r"\"", '"').replace("%%", "\1")
                found.update(part.replace("\1", "%").strip()
                             for part in CONVERSION.split(whole))
    return sorted((part for part in found if len(re.findall("[a-z]", part)) >= 2), key=len,
                  reverse=True)


def letters(text):
    return len(re.findall("[A-Za-z]", text))


def is_filled_in(word):
    """A path, a device, a number, a name as disk0, or a word that stands for others: PATH."""
    word = word.strip(",;:()'\"[]")
    return not re.search("[a-z]", word) or bool(re.search(r"[/0-9]|\.ini$", word))


def what_is_not_said(message):
    """The words of a message that the programs do not say; "" if they say all of it.

    A third of it must be one piece of a string, so that it is not put together from many.
    """
    rest, longest = message, 0
    fixed = letters(" ".join(word for word in message.split() if not is_filled_in(word)))
    for part in fragments():
        if part in rest:
            whole = re.escape(part)
            if letters(part) < 10:  # as a word, not as a part of one
                whole = rf"(?:(?<!\w)|(?=\W)){whole}(?:(?!\w)|(?<=\W))"
            rest, n_found = re.subn(whole, " \n ", rest)
            longest = max(longest, letters(part)) if n_found else longest
    left = " ".join(word for word in rest.split() if not is_filled_in(word))
    if not left and longest * 3 < fixed:
        return f"(put together) {message}"
    return left


def fenced(path):
    """[(language, first line's number, text)] of the blocks of a page of Markdown."""
    found, begun = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence = re.match(r"\s*```(.*)", line)
        if fence and begun is None:
            begun = (fence[1].strip(), number + 1, [])
        elif fence:
            found.append((begun[0], begun[1], "\n".join(begun[2]) + "\n"))
            begun = None
        elif begun:
            begun[2].append(line)
    assert begun is None, f"{path}: a block is not ended"
    return found


def without_fences(path):
    return re.sub(r"(?ms)^\s*```.*?^\s*```\s*?$", "", path.read_text())


def links(path):
    """Where a page of Markdown leads: (text, target) of what is no address."""
    text = without_fences(path)
    found = re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", text)
    found += [("picture", target) for target in re.findall(r'(?:src|href)="([^"]+)"', text)]
    return [(words, target) for words, target in found
            if not re.match(r"[a-z]+:", target)]


def anchors(path):
    """What GitHub calls the headings of a page."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"(?m)^#+ (.*)$", without_fences(path))}


# Commands

@functools.cache
def help_of(*command):
    done = run(*command, "--help", check=False)
    return done.stdout + done.stderr


@functools.cache
def verbs():
    return set(run(CTL, "help", "--list-verbs").stdout.split())


def commands(text):
    """[[word, ...]] of a block of shell: simple commands, without comments and redirections."""
    found = []
    text = re.sub(r"<<-?'?(\w+)'?\n.*?\n\s*\1\n", "\n", text, flags=re.S)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = []
        for word in [*lexer, ";"]:
            if word in (";", "&&", "||", "|", "&", ";;", "(", ")"):
                if words:
                    found.append(words)
                words = []
            else:
                words.append(word)
    return found


def option_is_known(option, text):
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def ours_wrong(words):
    """What is wrong with a command of ours: a verb or an option that there is not. None: nothing."""
    program, arguments = os.path.basename(words[0]), words[1:]
    if program == "zramfs":
        text = help_of(BINARY)
    else:
        plain = [word for word in arguments if not word.startswith("-")]
        verb = plain[0] if plain and plain[0] in verbs() else None
        if plain and verb is None and re.fullmatch("[a-z]+", plain[0]):
            return f"{plain[0]} is no verb"
        text = help_of(CTL, verb) if verb else help_of(CTL)
    for word in arguments:
        if re.match("--?[A-Za-z]", word) and not option_is_known(word.split("=")[0], text):
            return f"{word} is no option"
    return None


def lacks_command(words):
    """The name of a command that is not on this machine, or None."""
    done = run("bash", "-c", 'type -- "$1"', "bash", words[0], check=False, env={"PATH": PATH})
    return None if done.returncode == 0 else words[0]
