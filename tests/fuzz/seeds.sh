#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# seeds.sh TARGET: the folders of inputs that a fuzz target begins with, in one line.
set -u
cd "$(dirname "$0")/../.." || exit 1
set -- "$1" tests/fuzz/corpus/"$1" tests/fuzz/regress/"$1"
# The configurations of the other tests are good seeds as they are.
case $1 in
config_text) set -- "$@" conf tests/conf/accept tests/conf/format tests/conf/reject ;;
config_import) set -- "$@" tests/conf/import ;;
esac
shift
for folder do printf '%s ' "$PWD/$folder"; done
