$registry = "myregistry"
az acr import --name $registry `
  --source "myregistry.azurecr.io/staging/app:v1" `
  --image "released:$env:TAG"
