#!/bin/sh
# stage.sh NAME COMMAND…: runs one stage of the Makefile and prints its wall time.
name=$1
shift
echo "== $name"
start=$(date +%s)
"$@"
code=$?
seconds=$(($(date +%s) - start))
if [ "$code" -eq 0 ]; then
  echo "== $name: done in $seconds s"
else
  echo "== $name: FAILED after $seconds s (exit $code)" >&2
fi
exit "$code"
