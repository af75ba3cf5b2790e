az acr import -n myregistry -r /subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images/providers/Microsoft.ContainerRegistry/registries/mysource --source app:latest -t app:latest
az acr import -n myregistry -r mysource --source pair:a
