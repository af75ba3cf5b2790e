# continued lines, quotes, and a comment in between
az acr import \
  --name "myregistry" \
  --resource-group images \
  --subscription 00000000-0000-0000-0000-000000000000 \
  --source mcr.microsoft.com/windows/\
servercore:ltsc2019 \
  --image "servercore:ltsc2019" # az acr import --name nobody --source a.io/b:c
