#!/usr/bin/env bash
# Starts, follows, restarts and scales the services: in containers where Docker
# Compose answers, else in one process in the background.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
home=${CONCLAVE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/conclave}
docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1 && compose=yes || compose=no
# TLS_FILES, here or in .env, says that ports speak TLS.
tls=${TLS_FILES:-$(sed -n 's/^TLS_FILES=//p' .env 2>/dev/null || true)}
dev=(-f docker-compose.yml -f docker-compose.override.yml ${tls:+-f docker-compose.tls.yml})
prod=(-f docker-compose.yml -f docker-compose.prod.yml ${tls:+-f docker-compose.tls.yml})

# Which files the containers of now were made from: those of production, or else.
running() { docker inspect -f '{{index .Config.Labels "com.docker.compose.project.config_files"}}' "$(docker compose ps -q 2>/dev/null | head -n 1)"; }

# What runs is not stopped for settings with which nothing could start.
understood() { bin/conclave status --config >/dev/null || exit 2; }

here() { echo "Docker Compose does not answer: $1"; }

case ${1:?say dev, logs, restart, prod, scale or dashboards} in
dev)
  if [ $compose = yes ]; then exec docker compose "${dev[@]}" up -d --build; fi
  here "the services run in one process on this machine"
  exec scripts/start.sh
  ;;
logs)
  if [ $compose = yes ] && [ -n "$(docker compose ps -q 2>/dev/null)" ]; then exec docker compose logs -f; fi
  [ -f "$home/serve.log" ] || { echo "nothing was started here ($home); start it with: make dev" >&2; exit 1; }
  exec tail -n 50 ${FOLLOW--F} "$home/serve.log"
  ;;
restart)
  if [ $compose = yes ] && [ -n "$(docker compose ps -q 2>/dev/null)" ]; then
    case $(running) in
    *docker-compose.prod.yml*) exec docker compose "${prod[@]}" up -d --force-recreate ;;
    *) exec docker compose "${dev[@]}" up -d --force-recreate ;;
    esac
  fi
  understood
  if [ -f "$home/serve.pid" ]; then scripts/stop.sh; fi
  exec scripts/start.sh
  ;;
prod)
  if [ $compose = yes ]; then exec docker compose "${prod[@]}" up -d --build; fi
  here "the services run in one process on this machine, with SQLite"
  exec scripts/start.sh
  ;;
scale)
  if [ $compose = yes ]; then
    exec docker compose "${prod[@]}" up -d --no-recreate --scale agent-pool=3 --scale domain-experts=5 --scale code-reviewers=8
  fi
  export AGENT_POOL_SIZE=${AGENT_POOL_SIZE:-50}
  understood
  here "the process on this machine starts again with $AGENT_POOL_SIZE agents"
  if [ -f "$home/serve.pid" ]; then scripts/stop.sh; fi
  exec scripts/start.sh
  ;;
dashboards)
  if [ $compose = yes ] && [ -n "$(docker compose ps -q gateway 2>/dev/null)" ]; then
    page=$(docker compose exec -T gateway conclave watch --open) # at its name among the containers
    echo "page     ${page%%://*}://localhost:8080/${page#*://*/}"
    echo "grafana  http://localhost:3000  (user admin, password GRAFANA_PASSWORD)"
  else
    bin/conclave status >/dev/null || exit 1
    page=$(bin/conclave watch --open)
    echo "page     $page"
    here "there is no Grafana; deploy/grafana/dashboards holds what it would show"
  fi
  ;;
*)
  echo "no such thing: $1" >&2
  exit 2
  ;;
esac
