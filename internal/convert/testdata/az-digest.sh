if ! az acr import -n myregistry --source mysource.azurecr.io/app@sha256:b9589c98fe218b12bd6c90a39ccb9ad7e600a4f49d603c2c25e23b3315619330 -t app:pinned; then exit 1; fi
az acr import -n myregistry --source mysource.azurecr.io/app@sha256:b9589c98fe218b12bd6c90a39ccb9ad7e600a4f49d603c2c25e23b3315619330 --repository untagged
