az acr import -n myregistry --source mysource.azurecr.io/pair:a -t pair:a -t pair:b --image=other/pair
