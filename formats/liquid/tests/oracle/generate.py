"""Generates cases for tests/corpus from Liquid's grammar and asks python-liquid what they give.

    pip install python-liquid==2.3.0
    python tests/oracle/generate.py PATH_OF_THE_PROGRAM     (with `tidings render --lines`)

Cases on which both agree go to tests/corpus/generated.txt. A case on which they differ goes to
tests/corpus/generated_differences.txt with our own answer and, above it, python-liquid's; each such
difference must have its reason in DIFFERENCES.md. The seed is fixed, so that a run gives the same
files.
"""

import json
import pathlib
import random
import subprocess
import sys

import liquid

SEED = 20240701
WANTED = 1_150
HERE = pathlib.Path(__file__).parent.parent / "corpus"
DATA = {
    "s": "Hello World",
    "u": "ünïcode ÇA",
    "sp": "  padded  ",
    "html": "<b>a & 'b'</b>",
    "empty": "",
    "n": 7,
    "z": 0,
    "neg": -3,
    "f": 2.5,
    "t": True,
    "no": False,
    "nothing": None,
    "num": "42",
    "list": [3, 1, 2],
    "words": ["pear", "Apple", "fig", "apple"],
    "nested": [[1, 2], [3]],
    "people": [
        {"name": "Ann", "age": 31, "vip": True},
        {"name": "Ben", "age": 25, "vip": False},
        {"name": "Cleo", "age": 31},
    ],
    "o": {"k": "v", "deep": {"er": [10, 20]}, "size_of": 3},
    "none": [],
}
PARTIALS = {"card": "[{{ name }}{{ card }}]", "row": "{{ row }};", "scope": "({{ x }}{{ s | size }})"}

rng = random.Random(SEED)
pick = rng.choice
TEXTS = ["s", "u", "sp", "html", "empty", "num", "'a,b,c'", '"Quick brown fox"', "'x'"]
NUMBERS = ["n", "neg", "f", "num", "5", "-2", "3", "10", "0.5"]
LISTS = ["list", "words", "none"]
PLACES = ["o.k", "o.deep.er[0]", "o.deep.er.last", "people[0].name", "people.first.age", "list[1]", "words.last", "list.size",
          "o['k']", "people[-1].name", "missing", "o.missing.more", "s.size", "nested[0][1]", "nothing", "t", "no"]


def text_filter():
    return pick([
        "upcase", "downcase", "capitalize", "strip", "lstrip", "rstrip", "size", "escape_once", "strip_html", "strip_newlines",
        "newline_to_br", "url_encode", "append: 'z'", "prepend: s", "append: num", "remove: 'l'", "remove_first: 'o'",
        "replace: 'o', '0'", "replace_first: 'l', 'L'", "truncate: 5", "truncate: 7, ''", "truncatewords: 1", "slice: 0",
        "slice: 1, 3", "slice: -3, 2", "split: ' '", "split: ','", "default: 'd'", "first", "last", "remove_last: 'o'",
        "replace_last: 'o', '0'", "base64_encode", "split: '' | join: '-'", "split: ' ' | reverse | join: ' '",
        "split: ',' | size", "url_encode | url_decode",
    ])


def number_filter():
    return pick([
        "plus: 2", "minus: 1", "times: 3", "times: 1.5", "divided_by: 2", "divided_by: 2.0", "modulo: 3", "abs", "ceil", "floor",
        "round", "at_least: 4", "at_most: 4", "plus: f", "minus: num", "times: neg", "append: '%'", "default: 1", "plus: '3'",
        "at_least: n", "modulo: 2", "divided_by: 4 | ceil",
    ])


def list_filter():
    return pick([
        "join: ','", "join", "first", "last", "size", "reverse | join: ' '", "sort | join: ' '", "sort_natural | join: ' '",
        "uniq | join: ' '", "compact | join: ' '", "concat: list | join: ' '", "slice: 1 | join: ' '", "slice: 0, 2 | join: ' '",
        "sum", "map: 'x' | compact | size",
    ])


def people_filter():
    return pick([
        "map: 'name' | join: ','", "map: 'age' | uniq | join: ','", "where: 'vip' | map: 'name' | join: ','",
        "where: 'age', 31 | map: 'name' | join: ','", "where: 'age', 99 | size", "sort: 'age' | map: 'name' | join: ','",
        "sum: 'age'", "size", "first | size", "find: 'age', 25 | size", "find_index: 'name', 'Ben'", "has: 'name', 'Cleo'",
        "reject: 'vip' | map: 'name' | join: ','", "map: 'name' | sort_natural | last", "compact: 'name' | size",
        "uniq: 'age' | map: 'name' | join: ','", "last",
    ])


def output():
    kind = rng.random()
    if kind < 0.3:
        return pick(TEXTS) + "".join(f" | {text_filter()}" for _ in range(rng.randint(0, 2)))
    if kind < 0.55:
        return pick(NUMBERS) + "".join(f" | {number_filter()}" for _ in range(rng.randint(0, 2)))
    if kind < 0.7:
        return pick(LISTS) + f" | {list_filter()}"
    if kind < 0.82:
        return "people | " + people_filter()
    return pick(PLACES) + pick(["", "", " | default: 'none'", " | upcase", " | append: '!'", " | size"])


def operand():
    return pick(["s", "n", "neg", "f", "num", "t", "no", "nothing", "missing", "empty", "list", "none", "'x'", "7", "0", "2.5", "true",
                 "false", "nil", "empty", "blank", "o.k", "list.size", "people[0].age", "'Hello World'", "words"])


def test():
    kind = rng.random()
    if kind < 0.3:
        return operand()
    if kind < 0.5:
        return f"{operand()} {pick(['==', '!=', '<>'])} {operand()}"
    if kind < 0.75:
        return f"{pick(NUMBERS + ['list.size', 'people[0].age'])} {pick(['<', '<=', '>', '>='])} {pick(NUMBERS)}"
    return f"{pick(['s', 'words', 'list', 'u', 'empty', 'none'])} contains {pick(['s', chr(39) + 'Hello' + chr(39), chr(39) + 'fig' + chr(39), '3', chr(39) + chr(39), 'n'])}"


def condition():
    return "".join([test()] + [f" {pick(['and', 'or'])} {test()}" for _ in range(pick([0, 0, 1, 2]))])


def trim():
    return pick(["", "", "", "-"])


def tag(body):
    return f"{{%{trim()} {body} {trim()}%}}"


def value():
    return f"{{{{{trim()} {output()} {trim()}}}}}"


def loop(depth):
    over = pick(["list", "words", "(1..3)", "(n..9)", "(1..list.size)", "none", "people", "o.deep.er", "missing", "nested", "(3..1)"])
    options = "".join(pick(["", "", f" {one}"]) for one in ["limit: 2", "offset: 1", "reversed"])
    inner = pick([
        "{{ i }}", "{{ forloop.index }}{{ i }}", "{{ forloop.first }}", "{{ forloop.rindex }}", "{{ i.name }}", "{{ i | size }},",
        "{% if forloop.last %}.{% else %},{% endif %}", "{% cycle 'a', 'b' %}", "{% if i == 2 %}{% break %}{% endif %}{{ i }}",
        "{% if i == 2 %}{% continue %}{% endif %}{{ i }}", "{{ forloop.length }}{{ forloop.index0 }}", "{% assign last = i %}{{ last }}",
        "{% increment k %}", "{% for j in i %}{{ j }}{{ forloop.parentloop.index }}{% endfor %}|",
    ])
    if depth > 0 and rng.random() < 0.3:
        inner += block(depth - 1)
    otherwise = pick(["", "{% else %}none"])
    return f"{tag(f'for i in {over}{options}')}{inner}{otherwise}{tag('endfor')}"


def block(depth=2):
    kind = rng.random()
    inner = lambda: block(depth - 1) if depth > 0 and rng.random() < 0.4 else pick([value(), "x", " y ", "ok"])
    if kind < 0.22:
        middle = "".join(f"{tag('elsif ' + condition())}{inner()}" for _ in range(pick([0, 0, 1])))
        return f"{tag('if ' + condition())}{inner()}{middle}{pick(['', tag('else') + inner()])}{tag('endif')}"
    if kind < 0.3:
        return f"{tag('unless ' + condition())}{inner()}{pick(['', tag('else') + inner()])}{tag('endunless')}"
    if kind < 0.4:
        whens = "".join(f"{tag('when ' + pick(['7', chr(39) + 'v' + chr(39), 's, n', 'nil', '2.5 or 3', 'true']))}{inner()}" for _ in range(rng.randint(1, 3)))
        return f"{tag('case ' + pick(['n', 'o.k', 'nothing', 'f', 't', 's']))}{whens}{pick(['', tag('else') + inner()])}{tag('endcase')}"
    if kind < 0.62:
        return loop(depth)
    if kind < 0.72:
        return f"{tag('assign x = ' + output())}{{{{ x }}}}"
    if kind < 0.78:
        return f"{tag('capture x')}{inner()}z{tag('endcapture')}[{{{{ x | upcase }}}}]"
    if kind < 0.83:
        return pick(["{% render 'card', name: s %}", "{% render 'card' with words[0] as name %}", "{% render 'row' for list %}",
                     "{% assign x = 1 %}{% include 'scope' %}", "{% include 'card', name: n %}", "{% for w in words %}{% render 'row', row: w %}{% endfor %}"])
    if kind < 0.87:
        return f"{{% liquid\n assign x = {output()}\n if {condition()}\n echo x\n else\n echo {output()}\n endif\n%}}"
    if kind < 0.9:
        return pick([f"{{% raw %}}{value()}{{% endraw %}}", f"{{% comment %}}{value()}{{% endcomment %}}-", "{% increment a %}{% decrement a %}{% increment a %}",
                     f"{tag('echo ' + output())}", f"{tag('# ' + 'note')}-"])
    return value()


def template():
    return "".join(block() for _ in range(pick([1, 1, 1, 2, 2, 3])))


def oracle(environment, source):
    try:
        return environment.from_string(source).render(**json.loads(json.dumps(DATA)))
    except Exception as error:
        return f"!! {type(error).__name__}"


def escaped(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def ours(program, sources):
    lines = "".join(json.dumps({"template": source, "data": DATA, "templates": PARTIALS}) + "\n" for source in sources)
    answers = subprocess.run([program, "render", "--lines"], input=lines, capture_output=True, text=True, check=True).stdout
    found = []
    for line in answers.splitlines():
        answer = json.loads(line)
        found.append(answer["output"] if "output" in answer else "!! " + answer["error"].split(": ", 1)[-1])
    return found


def main():
    environment = liquid.Environment(loader=liquid.DictLoader(PARTIALS))
    sources = []
    while len(sources) < WANTED:
        source = template()
        # A case is one line, and " ==> " and " !! " part it.
        if source not in sources and len(source) < 400 and "==>" not in source and "!!" not in source:
            sources.append(source)
    answers = ours(sys.argv[1], sources)
    head = ["data: " + json.dumps(DATA, ensure_ascii=False)]
    head += [f"template {name}: {text}" for name, text in PARTIALS.items()]
    agreed, differing = list(head), list(head)
    for source, answer in zip(sources, answers, strict=True):
        expected = oracle(environment, source)
        case = f"{escaped(source)} {escaped(answer)}" if answer.startswith("!! ") else f"{escaped(source)} ==> {escaped(answer)}"
        if answer == expected or (answer.startswith("!! ") and expected.startswith("!! ")):
            agreed.append(case)
        else:
            differing += [f"# python-liquid: {escaped(expected)}", case]
    notice = "# Made by tests/oracle/generate.py; not edited by hand."
    (HERE / "generated.txt").write_text("\n".join([notice, *agreed]) + "\n")
    (HERE / "generated_differences.txt").write_text("\n".join([notice, *differing]) + "\n")
    print(len(agreed) - len(head), "agreed,", (len(differing) - len(head)) // 2, "differ")


main()
