#!/bin/sh
# Only what is certain to run is written as such.
TAG=$(echo ")" "$(date '+)')")
if [ "$1" = all ]; then
  az acr import -n myregistry --source docker.io/library/alpine:3.20 -t alpine:3.20
elif [ "$1" = some ]; then
  echo "nothing"
fi
case "$1" in
  a|b) az acr import -n myregistry --source docker.io/library/busybox:1.36 -t busybox:1.36 ;;
  *) exit 1 ;;
esac
cat <<'END' | ssh host sh
echo don't
az acr import -n myregistry --source docker.io/library/debian:12 -t debian:12
END
cat <<-EOF > notes.txt
	it's a note
	EOF
az acr import -n myregistry --source docker.io/library/hello-world:latest -t hello-world:latest
