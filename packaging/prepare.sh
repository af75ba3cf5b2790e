#!/bin/sh
# Makes what packages contain besides the program: manual pages and completions. Run from the top of the repository, with the
# folder to write to.
set -eu
out=${1:?name the folder to write to}
rm -rf "$out"
mkdir -p "$out/man" "$out/completions"
go run -tags man ./cmd/dray man "$out/man"
gzip -9n "$out"/man/*
for shell in bash zsh fish; do
	go run ./cmd/dray completion "$shell" >"$out/completions/dray.$shell"
done
gzip -9nc CHANGELOG.md >"$out/changelog.gz"
