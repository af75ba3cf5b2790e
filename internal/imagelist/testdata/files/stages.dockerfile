FROM node:20 as deps
FROM deps as build
FROM nginx
COPY --from=build /usr/src/app /usr/share/nginx/html
COPY --from=nginx:latest /etc/nginx/nginx.conf /nginx.conf
RUN --mount=type=secret,id=npmrc --mount=type=bind,from=deps,target=/deps true
