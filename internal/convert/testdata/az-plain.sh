#!/bin/sh
set -e
az acr import --name myregistry --source docker.io/library/hello-world:latest --image hello-world:latest
