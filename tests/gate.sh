#!/usr/bin/env bash
# The gate as a build runs it: clips that pass, clips that do not and why, and a mistake. Options are for the gate:
#   tests/gate.sh PYTHON FOLDER [OPTION ...]
# FOLDER has good.csv, bad.csv (each with its clips), and takes the reports.
set -euo pipefail
python=$1 folder=$2
shift 2

gate() { # CODE ARGUMENT ...: the gate must end with that exit code
  local wanted=$1 code=0
  shift
  "$python" -m core gate "$@" >"$folder/said.txt" 2>"$folder/mistake.txt" || code=$?
  [ "$code" = "$wanted" ] || { echo "exit code $code instead of $wanted:" "$@" >&2; cat "$folder"/{said,mistake}.txt >&2; exit 1; }
}

told() { # FILE SENTENCE: it must stand there
  grep -qF -- "$2" "$folder/$1" || { echo "$1 does not say: $2" >&2; cat "$folder/$1" >&2; exit 1; }
}

gate 0 "$folder/good.csv" --min musical_impression=1.5 "$@"
told said.txt "PASSED: 6 clips, all conditions held."

gate 1 "$folder/bad.csv" --min musical_impression=1.5 --max-fail "10 %" --junit "$folder/gate.xml" --report "$folder/gate.html" "$@"
told said.txt "NOT PASSED"
for report in said.txt gate.xml gate.html; do
  told "$report" "It has 1 click, above 0."
  told "$report" "it is silence from beginning to end"
  told "$report" "was not found"
done

gate 2 "$folder/good.csv" --min "musical_impression>3"
told mistake.txt "write it as musical_impression=3.2"
echo "the gate passes, does not pass, and says why"
