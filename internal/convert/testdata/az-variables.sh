#!/usr/bin/env bash
ACR_NAME=myregistry
SOURCE="docker.io/library"
export IMAGE=hello-world
az acr import --name $ACR_NAME --source "$SOURCE/${IMAGE}:${TAG}" --image "$IMAGE:${TAG}" --force
