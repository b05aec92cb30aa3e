#!/bin/sh
# No tracked file may be larger than 1 MB, end a line of text with spaces, or be a build product.
set -eu

git rev-parse --git-dir >/dev/null 2>&1 || exit 0 # an unpacked archive
problems=0
large=$(git ls-files -z | xargs -0 -r -I{} find {} -maxdepth 0 -type f -size +1024k)
if [ -n "$large" ]; then
  echo "larger than 1 MB: $large" >&2
  problems=1
fi
built=$(git ls-files -- '*.o' '*.so' '*.a' 'build/*' 'out/*' spdlua)
if [ -n "$built" ]; then
  echo "built, but tracked: $built" >&2
  problems=1
fi
if git grep -nI -e ' $' -e "$(printf '\t')$" -- '*.[ch]' '*.lua' '*.py' '*.sh' '*.yaml' Makefile >&2; then
  echo "spaces at the end of a line" >&2
  problems=1
fi
exit "$problems"
