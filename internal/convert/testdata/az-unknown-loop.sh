while read -r image; do
  az acr import --name myregistry --source "docker.io/library/$image" --image "mirror/$image" --no-wait
done < images.txt
