#!/usr/bin/env bash
# cyclopts 5.4.0, pydantic 2.12.5
#
# A parameter's converter may return anything: here the text "4/3" of a number, which the function reads. With Pydantic
# installed and not imported, the function gets it. As soon as any module has imported Pydantic, the returned value is
# validated against the annotation as well, and the same command line is refused.
#
# Why a good guess is wrong: cyclopts does not need Pydantic, and no parameter here is a model of it. A library that the
# program imports, or a plug-in that it loads for one kind of file, decides what its options may be.
#
# Instead: annotate what the converter returns, or take a str and read it in the function.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet cyclopts==5.4.0 pydantic==2.12.5
cat > "$work/program.py" <<'END'
import sys
from typing import Annotated

from cyclopts import App, Parameter

app = App()


def text(type_, tokens):
    return tokens[0].value


@app.default
def main(*, scale: Annotated[float, Parameter(converter=text)] = 2):
    return scale


if sys.argv[1] == "beside":
    import pydantic  # noqa: F401 - as any library may do

try:
    result = app(["--scale", "4/3"], exit_on_error=False, print_error=False, result_action="return_value")
except Exception as error:
    result = type(error).__name__
print(repr(result))
END
alone=$("$work/venv/bin/python" "$work/program.py" alone)
beside=$("$work/venv/bin/python" "$work/program.py" beside)
printf 'alone              %s\npydantic imported  %s\n' "$alone" "$beside"
[ "$alone" = "'4/3'" ]
[ "$beside" = "'ValidationError'" ]
