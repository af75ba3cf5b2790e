for image in docker.io/library/hello-world:latest mcr.microsoft.com/windows/servercore:ltsc2019
do
  echo "importing $image"
  az acr import --name myregistry --source "$image" --image "${image##*/}" >/dev/null 2>&1 || echo failed
done
