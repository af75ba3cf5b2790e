az acr import --name myregistry.azurecr.io --source registry.example.com/team/app:v1 --image private:v1 -u bob -pplain-text-password
az acr import --name myregistry --source abroadsource.azurecr.io/app:v1 --image abroad:v1 --username "$APP_ID" --password "$APP_SECRET" --only-show-errors -o none
